//! See `crore_fuzz::reassembly`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crore_fuzz::reassembly::run(data));
