//! An Authorization header beside parameters.
#![no_main]

use ddnsd::http::fuzz_checks::authorization;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&[u8], Option<&str>)| authorization(data.0, data.1));
