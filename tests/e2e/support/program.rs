//! The program under test: started, watched, ended, and asked what is left.

use super::{run, wait_until};
use serde_json::Value;
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// What the log says once the program takes clients.
const UP: &str = "serving";
/// What follows the number of open connections in the live line.
const LIVE: &str = " connections";
/// EAL's start, a pool of packet buffers and, for some wires, a peer that comes later.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The drain limit of the configuration, and the rest of a shutdown.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The program that is tested.
pub(crate) fn bin() -> PathBuf {
    env::var_os("CRORE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_crore").into(), PathBuf::from)
}

/// A running `crore`; killed when dropped, if it was not ended before.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Program {
    /// Starts it and waits until it is up. Its messages go to `log`.
    pub(crate) fn start(command: Command, log: PathBuf) -> Self {
        let mut program = Self::spawn(command, log);
        wait_until("the program is up", START_LIMIT, || {
            if let Some(status) = program.ended() {
                panic!("it ended at once, {status}:\n{}", program.log());
            }
            program.log().contains(UP)
        });
        program
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(mut command: Command, log: PathBuf) -> Self {
        let out = log.with_extension("out");
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("the test's folder can be written"))
            .stderr(File::create(&log).expect("the test's folder can be written"))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log, out }
    }

    /// All that it logged so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("the log is there")).into_owned()
    }

    /// How many connections the last live line says are open; `None` before the first.
    pub(crate) fn open_connections(&self) -> Option<u64> {
        let log = self.log();
        let live = log.lines().rev().find(|line| line.contains(LIVE))?;
        live.split(LIVE).next()?.split_whitespace().last()?.parse().ok()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Ends it by SIGTERM; asserts that it left in order, with nothing left over.
    pub(crate) fn stop(mut self) -> Summary {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.finish(STOP_LIMIT)
    }

    /// Waits until it ends by itself; asserts that it left in order, with nothing left over.
    pub(crate) fn finish(&mut self, limit: Duration) -> Summary {
        let mut status = None;
        wait_until("the program ends", limit, || {
            status = self.ended();
            status.is_some()
        });
        let out = String::from_utf8_lossy(&fs::read(&self.out).expect("its output is there")).into_owned();
        let status = status.expect("it ended");
        assert!(status.success(), "{status}\n{out}\n{}", self.log());
        let summary = Summary::parse(&out);
        assert_eq!(summary.number("/connections"), 0, "connections are left: {out}");
        assert_eq!(
            summary.number("/mbufs_in_use"),
            0,
            "packet buffers are left: {out}"
        );
        summary
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// What the program says at its end.
#[derive(Debug)]
pub(crate) struct Summary(Value);

impl Summary {
    /// The last line of `out` that is a JSON object.
    pub(crate) fn parse(out: &str) -> Self {
        out.lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok().filter(Value::is_object))
            .map_or_else(|| panic!("there is no summary in:\n{out}"), Self)
    }

    /// The JSON object that a file holds.
    pub(crate) fn of_file(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("the report is there");
        Self(serde_json::from_str(&text).expect("the report is JSON"))
    }

    /// The number at a JSON pointer, whole or not.
    pub(crate) fn real(&self, pointer: &str) -> f64 {
        self.0
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("no number {pointer} in {}", self.0))
    }

    /// The number at a JSON pointer.
    pub(crate) fn number(&self, pointer: &str) -> u64 {
        self.0
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no number {pointer} in the summary {}", self.0))
    }

    /// How often something was dropped for `reason`; reasons that never came are left out.
    pub(crate) fn drops(&self, reason: &str) -> u64 {
        self.0
            .pointer(&format!("/drops/{reason}"))
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }
}
