//! The tool's own way of going through a script, told again: one lock, which the
//! main thread holds nearly always; a second thread for calls that block, which
//! waits for its call's time by itself; times that are looked at by spinning; and
//! a tolerance for everything that happens.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crore_wire::Flags;

use crate::library::Library;
use crate::packets::{self, Says};

/// The tool's own, in microseconds.
const TOLERANCE: i64 = 4_000;
/// How long before an event it begins to spin.
const SPIN: i64 = 20;

type Call = Box<dyn FnOnce(&Library) -> i64 + Send>;

/// Where the second thread stands.
enum Stage {
    Idle,
    /// A call, when it is to be made, when it is to return, and what.
    Enqueued(Call, i64, i64, i64),
    Running,
    Exiting,
}

struct Shared {
    library: Library,
    stage: Mutex<(Stage, i32)>,
    enqueued: Condvar,
    dequeued: Condvar,
    idle: Condvar,
}

/// A script that is being run.
pub(crate) struct Tool {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    start: i64,
}

impl Tool {
    pub(crate) fn start(library: Library) -> Self {
        let shared = Arc::new(Shared {
            library,
            stage: Mutex::new((Stage::Idle, 0)),
            enqueued: Condvar::new(),
            dequeued: Condvar::new(),
            idle: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || second_thread(&theirs));
        // Well into a tick of the real clock, and a bit.
        let start = library.time() + 250;
        while library.time() < start {}
        Self {
            shared,
            thread: Some(thread),
            start,
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Stage, i32)> {
        self.shared.stage.lock().expect("nobody panics with it")
    }

    /// A call that does not block, at `at` microseconds into the script.
    pub(crate) fn call<T>(&self, at: i64, call: impl FnOnce(&Library) -> T) -> T {
        let guard = self.lock();
        let guard = self.await_idle(guard);
        let _guard = wait_for(&self.shared, guard, self.start + at);
        call(&self.shared.library)
    }

    /// One that blocks from `at` until `end`, and gives `value`.
    pub(crate) fn blocks(
        &self,
        at: i64,
        end: i64,
        value: i64,
        call: impl FnOnce(&Library) -> i64 + Send + 'static,
    ) {
        let guard = self.lock();
        let mut guard = self.await_idle(guard);
        guard.0 = Stage::Enqueued(Box::new(call), self.start + at, self.start + end, value);
        self.shared.enqueued.notify_one();
        while matches!(guard.0, Stage::Enqueued(..)) {
            guard = self.shared.dequeued.wait(guard).expect("nobody panics with it");
        }
        loop {
            let id = guard.1;
            drop(guard);
            std::thread::yield_now();
            let sleeps = is_asleep(id);
            guard = self.lock();
            if sleeps || matches!(guard.0, Stage::Idle) {
                return;
            }
        }
    }

    /// A packet comes in.
    pub(crate) fn inject(&self, at: i64, packet: &[u8]) {
        let _guard = wait_for(&self.shared, self.lock(), self.start + at);
        self.shared.library.inject(packet);
    }

    /// A packet leaves. The lock is held all the while.
    pub(crate) fn expect(&self, at: i64, flags: Flags) -> (crore_wire::Segment, Vec<u8>) {
        let _guard = self.lock();
        let (segment, payload, time) = packets::expect(&self.shared.library, flags);
        near(time, self.start + at, "an outbound packet");
        (segment, payload)
    }

    /// The end of the script.
    pub(crate) fn ends(mut self) {
        let guard = self.lock();
        let mut guard = self.await_idle(guard);
        guard.0 = Stage::Exiting;
        self.shared.enqueued.notify_one();
        drop(guard);
        let thread = self.thread.take().expect("it was started");
        thread.join().expect("what it saw was right");
        self.shared.library.free();
    }

    /// A second, in real time, is all that the tool gives the other thread.
    fn await_idle<'a>(&self, mut guard: MutexGuard<'a, (Stage, i32)>) -> MutexGuard<'a, (Stage, i32)> {
        while !matches!(guard.0, Stage::Idle) {
            let patience = Duration::from_secs(1);
            let (again, waited) = self
                .shared
                .idle
                .wait_timeout(guard, patience)
                .expect("nobody panics with it");
            assert!(!waited.timed_out(), "a blocking call is still in progress");
            guard = again;
        }
        guard
    }
}

fn second_thread(shared: &Shared) {
    let lock = || shared.stage.lock().expect("nobody panics with it");
    let mut guard = lock();
    // SAFETY: asks for a number.
    guard.1 = unsafe { libc::gettid() };
    loop {
        match std::mem::replace(&mut guard.0, Stage::Running) {
            Stage::Idle | Stage::Running => {
                guard.0 = Stage::Idle;
                guard = shared.enqueued.wait(guard).expect("nobody panics with it");
            }
            Stage::Exiting => return,
            Stage::Enqueued(call, at, end, value) => {
                // It is still said to be enqueued while it waits for its time.
                guard.0 = Stage::Enqueued(Box::new(|_| 0), at, end, value);
                guard = wait_for(shared, guard, at);
                guard.0 = Stage::Running;
                drop(guard);
                shared.dequeued.notify_one();
                let got = call(&shared.library);
                let ended = shared.library.time();
                guard = lock();
                assert_eq!(got, value, "what the call gives");
                near(ended, end, "a system call's return");
                guard.0 = Stage::Idle;
                shared.idle.notify_one();
            }
        }
    }
}

/// Waits for an event's time: asleep first, without the lock, then spinning.
fn wait_for<'a>(
    shared: &'a Shared,
    mut guard: MutexGuard<'a, (Stage, i32)>,
    at: i64,
) -> MutexGuard<'a, (Stage, i32)> {
    loop {
        let wait = at - shared.library.time();
        if wait <= 0 {
            break;
        }
        if wait > SPIN {
            drop(guard);
            shared.library.sleep((wait - SPIN) as u32);
            guard = shared.stage.lock().expect("nobody panics with it");
        }
    }
    near(shared.library.time(), at, "an event");
    guard
}

fn near(actual: i64, wanted: i64, what: &str) {
    let apart = actual - wanted;
    assert!(apart.abs() <= TOLERANCE, "{what} {apart} us from its time");
}

fn is_asleep(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).expect("it lives");
    let state = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .trim_start()
        .to_owned();
    state.starts_with('S')
}

/// A packet with this to say.
pub(crate) fn says(flags: Flags, seq: u32, ack: u32, payload: &[u8]) -> Says<'_> {
    Says {
        flags,
        seq,
        ack,
        payload,
    }
}
