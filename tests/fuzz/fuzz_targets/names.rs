//! Names of hosts, zones and users, and mail addresses.
#![no_main]

use ddnsd::model::fuzz_checks::names;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| names(text));
