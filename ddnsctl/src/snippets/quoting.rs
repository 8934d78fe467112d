//! Quoting by the rules of each file format. User names may hold any character but `:` and control
//! characters.

/// For a POSIX shell, UCI and `EdgeOS`: in single quotes, always.
pub(super) fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// For curl's and inadyn's files: in double quotes.
pub(super) fn double(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// For ddclient's file: in single quotes, with backslashes.
pub(super) fn ddclient(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// For `RouterOS`: in double quotes, without variables and without the key that asks for help.
pub(super) fn routeros(text: &str) -> String {
    double(text).replace('$', r"\$").replace('?', r"\3F")
}

/// For Docker Compose: a YAML string in single quotes, without variables.
pub(super) fn compose(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_escapes_what_is_special_in_it() {
        let text = r#"a'b"c\d$e?"#;
        assert_eq!(shell(text), r#"'a'\''b"c\d$e?'"#);
        assert_eq!(double(text), r#""a'b\"c\\d$e?""#);
        assert_eq!(ddclient(text), r#"'a\'b"c\\d$e?'"#);
        assert_eq!(routeros(text), r#""a'b\"c\\d\$e\3F""#);
        assert_eq!(compose(text), r#"'a''b"c\d$$e?'"#);
    }
}
