//! What comes back for an update.
#![no_main]

use ddnsd::dns::fuzz_checks::answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| answer(bytes));
