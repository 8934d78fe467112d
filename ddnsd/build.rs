//! Relative relocations in the packed format: of the 0.8 MB that the loader reads, and that stays
//! mapped, 10 kB are left. glibc can read it since 2.36, which is Debian 12's.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
