//! DPDK's log, handed to the `log` crate and remembered for error messages.
//!
//! DPDK explains a failure only in its log; a return code of -1 says nothing. So
//! warnings and errors are kept (the last [`KEPT`], each of at most [`LINE_MAX`]
//! characters) until the failing call quotes them. While a call listens, they are
//! passed on as debug lines only, so that a failure is told once.

use core::ffi::c_char;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Error;

const KEPT: usize = 32;
const LINE_MAX: usize = 400;
/// DPDK's levels: 1 emergency, 2 alert, 3 critical, 4 error, 5 warning, 6 notice, 7 info, 8 debug.
const WARNING: u32 = 5;

static LISTENERS: AtomicU32 = AtomicU32::new(0);
static SAID: Mutex<VecDeque<(u32, String)>> = Mutex::new(VecDeque::new());

/// Sends DPDK's log here. Called once, before EAL starts.
pub(crate) fn install() -> Result<(), Error> {
    // SAFETY: `sink` matches the shim's callback type, is a static function, and can't
    // unwind into C: a panic in a logger ends the process at this border.
    match unsafe { dpdk_sys::crore_log_to(Some(sink)) } {
        0 => Ok(()),
        _ => Err(Error::Call {
            call: "fopencookie",
            said: std::io::Error::last_os_error().to_string(),
        }),
    }
}

/// Listens to what DPDK says from here on.
#[derive(Debug)]
pub(crate) struct Listening(());

impl Listening {
    pub(crate) fn start() -> Self {
        LISTENERS.fetch_add(1, Ordering::Relaxed);
        let listening = Self(());
        listening.forget();
        listening
    }

    /// Starts afresh.
    pub(crate) fn forget(&self) {
        if let Ok(mut said) = SAID.lock() {
            said.clear();
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What DPDK complained about lately: its errors, or its warnings when there was
/// no error. `None` when it said nothing.
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

/// DPDK logs as a notice what interests few.
fn rust_level(level: u32) -> log::Level {
    match level {
        0..=5 if LISTENERS.load(Ordering::Relaxed) != 0 => log::Level::Debug,
        0..=4 => log::Level::Warn,
        5 => log::Level::Info,
        6 | 7 => log::Level::Debug,
        _ => log::Level::Trace,
    }
}
