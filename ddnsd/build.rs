//! Lets the linker pack the relative relocations of ddnsd: 0.6 MB less to read at each start, and to
//! keep in memory. The program that loads it must know the format: glibc does since 2.36, and what
//! is built with a newer one does not run with an older one anyway.

use std::env::var;
use std::process::Command;

const LEAST_GLIBC: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_native = var("HOST") == var("TARGET");
    let is_glibc = var("CARGO_CFG_TARGET_ENV").is_ok_and(|name| name == "gnu");
    if is_native && is_glibc && glibc().is_some_and(|version| version >= LEAST_GLIBC) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine, from "glibc 2.36".
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
