//! TSIG key files.
#![no_main]

use ddnsd::config::fuzz_checks::key_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| key_file(text));
