//! See `crore_fuzz::parse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crore_fuzz::parse::run(data));
