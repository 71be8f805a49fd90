//! See `crore_fuzz::scoreboard`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crore_fuzz::scoreboard::run(data));
