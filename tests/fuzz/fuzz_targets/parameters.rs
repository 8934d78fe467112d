//! A query and a form.
#![no_main]

use ddnsd::http::fuzzed::parameters;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&str, &[u8])| parameters(data.0, data.1));
