//! TSIG key files.
#![no_main]

use ddnsd::config::fuzzed::key_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| key_file(text));
