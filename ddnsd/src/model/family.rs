//! One value for each address family.

/// A records or AAAA records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    V6,
}

/// One value for each family. The two have different types where they are addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PerFamily<T, U = T> {
    pub v4: T,
    pub v6: U,
}

impl<T> PerFamily<T> {
    pub fn map<R>(self, f: impl Fn(T) -> R) -> PerFamily<R> {
        PerFamily { v4: f(self.v4), v6: f(self.v6) }
    }

    pub fn zip<R>(self, other: PerFamily<R>) -> PerFamily<(T, R)> {
        PerFamily { v4: (self.v4, other.v4), v6: (self.v6, other.v6) }
    }

    /// Whether it holds for one of the families at least.
    pub fn any(self, f: impl Fn(T) -> bool) -> bool {
        f(self.v4) || f(self.v6)
    }
}

/// Some of the families.
pub type Families = PerFamily<bool>;

impl Families {
    pub const BOTH: Self = Self { v4: true, v6: true };

    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.zip(other).map(|(this, other)| this || other)
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.zip(other).map(|(this, other)| this && other)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        self.zip(other).map(|(this, other)| this && !other)
    }
}
