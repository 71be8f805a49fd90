//! What a long run shows while it goes on.

use std::io::{IsTerminal, Write};

/// One line on standard error, written over on a terminal; elsewhere each step is a line.
pub(super) struct Progress {
    terminal: bool,
    step: String,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            step: String::new(),
        }
    }

    /// Begins a step.
    pub(super) fn step(&mut self, text: impl Into<String>) {
        self.step = text.into();
        if self.terminal {
            self.show("");
        } else {
            eprintln!("{}", self.step);
        }
    }

    /// How far the step is; shown on a terminal only.
    pub(super) fn tick(&self, far: &str) {
        if self.terminal {
            self.show(far);
        }
    }

    fn show(&self, far: &str) {
        let mut out = std::io::stderr().lock();
        // With standard error gone there is nobody to show it to.
        let _ = write!(out, "\r\x1b[K{}: {far}", self.step).and_then(|()| out.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
