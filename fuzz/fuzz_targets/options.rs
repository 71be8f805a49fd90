//! See `crore_fuzz::options`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crore_fuzz::options::run(data));
