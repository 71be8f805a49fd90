//! The line that shows what is going on, once a second.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use crate::worker::Live;

/// Figures since the line before.
pub(crate) struct LiveLine {
    before: Live,
    at: Instant,
    terminal: bool,
    shown: bool,
}

impl LiveLine {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            before: Live::default(),
            at: Instant::now(),
            terminal,
            shown: false,
        }
    }

    /// Writes the line; on a terminal over the one before.
    pub(crate) fn show(&mut self, live: &Live) {
        let now = Instant::now();
        let line = line(&self.before, live, now.duration_since(self.at).as_secs_f64());
        let mut out = std::io::stderr().lock();
        // With standard error gone there is nobody to show it to.
        let _ = if self.terminal {
            write!(out, "\r\x1b[K{line}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{line}")
        };
        (self.before, self.at, self.shown) = (live.clone(), now, true);
    }

    /// Leaves the last line standing.
    pub(crate) fn end(&self) {
        if self.terminal && self.shown {
            eprintln!();
        }
    }
}

fn line(before: &Live, live: &Live, seconds: f64) -> String {
    let rate = |was: u64, is: u64| scaled(is.saturating_sub(was) as f64 / seconds.max(1e-3));
    let (a, b) = (&before.counters, &live.counters);
    let dropped = b.drops.total();
    let rescued = match live.peers.handed_on {
        0 => String::new(),
        frames => format!(", {} rescued", scaled(frames as f64)),
    };
    let stuck = match b.close_wait_stuck {
        0 => String::new(),
        stuck => format!(", {stuck} not closed by the application"),
    };
    format!(
        "{} connections, {} requests/s, packets/s {} in {} out, bit/s {} in {} out, {dropped} dropped{rescued}{stuck}",
        live.open,
        rate(before.app.requests, live.app.requests),
        rate(a.rx_frames, b.rx_frames),
        rate(a.tx_frames, b.tx_frames),
        rate(a.rx_bytes * 8, b.rx_bytes * 8),
        rate(a.tx_bytes * 8, b.tx_bytes * 8),
    )
}

/// A figure with a suffix that keeps it short.
pub(crate) fn scaled(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.2}G", v / 1e9),
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}
