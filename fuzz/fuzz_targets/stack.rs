//! See `crore_fuzz::stack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crore_fuzz::stack::run(data));
