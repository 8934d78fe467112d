//! The lines of a proxy's header.
#![no_main]

use ddnsd::http::fuzz_checks::forwarded;
use libfuzzer_sys::fuzz_target;

const HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

fuzz_target!(|data: (u8, Vec<Vec<u8>>)| {
    let header = HEADERS[usize::from(data.0) % HEADERS.len()];
    forwarded(header, &data.1);
});
