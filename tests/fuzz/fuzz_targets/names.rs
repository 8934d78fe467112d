//! Names of hosts, zones and users, and mail addresses.
#![no_main]

use ddnsd::model::fuzzed::names;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| names(text));
