//! A query and a form.
#![no_main]

use ddnsd::http::fuzz_checks::parameters;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&str, &[u8])| parameters(data.0, data.1));
