//! What comes to the name server in ddnsd itself, by UDP and TCP.
#![no_main]

use ddnsd::dns::builtin::fuzz_checks::query;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| query(bytes));
