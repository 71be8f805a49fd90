//! DPDK's log, handed to the `log` crate and remembered for error messages.
//!
//! DPDK explains a failure only in its log; a return code of -1 says nothing. So
//! warnings and errors are kept (the last [`KEPT`], each of at most [`LINE_MAX`]
//! bytes) until the failing call quotes them.

use core::ffi::c_char;
use std::collections::VecDeque;
use std::sync::Mutex;

use crate::error::Error;

const KEPT: usize = 32;
const LINE_MAX: usize = 400;
/// DPDK's levels: 1 emergency, 2 alert, 3 critical, 4 error, 5 warning, 6 notice, 7 info, 8 debug.
const WARNING: u32 = 5;

static SAID: Mutex<VecDeque<(u32, String)>> = Mutex::new(VecDeque::new());

/// Sends DPDK's log here. Called once, before EAL starts.
pub(crate) fn install() -> Result<(), Error> {
    // SAFETY: `sink` matches the shim's callback type, is a static function, and
    // never unwinds (its body holds no panicking operation that input can reach).
    match unsafe { dpdk_sys::crore_log_to(Some(sink)) } {
        0 => Ok(()),
        _ => Err(Error::Call {
            call: "fopencookie",
            said: std::io::Error::last_os_error().to_string(),
        }),
    }
}

/// Forgets what was said, so that the next [`said`] is about what happens from here.
pub(crate) fn forget() {
    if let Ok(mut said) = SAID.lock() {
        said.clear();
    }
}

/// What DPDK complained about since [`forget`]: its errors, or its warnings when
/// there was no error. `None` when it said nothing.
pub(crate) fn said() -> Option<String> {
    let said = SAID.lock().ok()?;
    let errors = |limit: u32| {
        let lines: Vec<&str> = said
            .iter()
            .filter(|(level, _)| *level <= limit)
            .map(|(_, line)| line.as_str())
            .collect();
        // The last lines lie nearest to the failure.
        let skip = lines.len().saturating_sub(4);
        (!lines.is_empty()).then(|| lines[skip..].join(" / "))
    };
    errors(WARNING - 1).or_else(|| errors(WARNING))
}

unsafe extern "C" fn sink(level: u32, text: *const c_char, len: usize) {
    if text.is_null() || len == 0 {
        return;
    }
    // SAFETY: stdio hands `len` readable bytes at `text` for the length of this call.
    let bytes = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), len) };
    for line in String::from_utf8_lossy(bytes).lines() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if level <= WARNING {
            remember(level, line);
        }
        log::log!(target: "dpdk", rust_level(level), "{line}");
    }
}

fn remember(level: u32, line: &str) {
    if let Ok(mut said) = SAID.lock() {
        if said.len() == KEPT {
            said.pop_front();
        }
        said.push_back((level, line.chars().take(LINE_MAX).collect()));
    }
}

/// DPDK logs as a warning what a caller of ours turns into an error anyway, and
/// as a notice what interests few.
fn rust_level(level: u32) -> log::Level {
    match level {
        0..=4 => log::Level::Warn,
        5 => log::Level::Info,
        6 | 7 => log::Level::Debug,
        _ => log::Level::Trace,
    }
}
