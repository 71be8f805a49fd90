//! See `crore_fuzz::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crore_fuzz::connection::run(data));
