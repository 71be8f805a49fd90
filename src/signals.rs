//! SIGINT and SIGTERM: the first asks for an orderly end, the second for one at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// The exit code of a second signal: 128 and SIGINT's number, as shells have it.
const IMPATIENT: i32 = 130;

/// Whether somebody asked for the end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    /// Starts to listen for signals.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset, and sets it.
            flag::register_conditional_shutdown(signal, IMPATIENT, asked.clone())
                .and_then(|_| flag::register(signal, asked.clone()))
                .map_err(|e| Failure::run(format!("can't watch for signals: {e}")))?;
        }
        Ok(Self(asked))
    }

    /// Asks for the end as a signal does.
    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
