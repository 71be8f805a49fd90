//! What the end-to-end tests share: namespaces, wires, the program under test, its peers.

mod download;
mod namespace;
mod program;
mod wire;

pub(crate) use download::{Download, url};
pub(crate) use namespace::Namespace;
pub(crate) use program::{Program, Summary, bin};
pub(crate) use wire::{GATEWAYS, STACK_V4, STACK_V6, Wire, World};

use std::{
    env,
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::Write,
    process::{Command, Output, Stdio},
    thread::available_parallelism,
    time::{Duration, Instant},
};

/// Why a test cannot run on this machine.
pub(crate) struct Skip(pub(crate) String);

/// Says that the running test is skipped, where a person and where `scripts/test` will see it.
pub(crate) fn skipped(why: &Skip) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    println!("skipped: {}", why.0);
    if let Some(path) = env::var_os("CRORE_SKIPS") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("CRORE_SKIPS can be written");
        writeln!(file, "{test}: {}", why.0).expect("CRORE_SKIPS can be written");
    }
}

/// The value of what may be skipped, or an early return from the test.
macro_rules! or_skip {
    ($what:expr) => {
        match $what {
            Ok(value) => value,
            Err(why) => return crate::support::skipped(&why),
        }
    };
}
pub(crate) use or_skip;

/// Only one end-to-end test runs on a machine at a time: they would measure each
/// other's load, and want the same cores and huge pages. nextest serialises them as
/// well; this holds for `cargo test` and for a second check-out too.
pub(crate) fn machine_lock() -> File {
    let path = env::temp_dir().join("crore-e2e.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .expect("the lock file can be opened");
    file.lock().expect("the lock can be had");
    file
}

/// Two polling programs want a core each.
pub(crate) fn two_cores() -> Result<(), Skip> {
    match available_parallelism() {
        Ok(n) if n.get() >= 2 => Ok(()),
        _ => Err(Skip("two polling programs need two cores".into())),
    }
}

fn number(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}

/// The size of a large transfer, in MiB.
pub(crate) fn large_mib() -> u64 {
    number("CRORE_E2E_MIB", 1024)
}

/// How long a load runs.
pub(crate) fn load_seconds() -> u64 {
    number("CRORE_E2E_SECONDS", 30)
}

/// Whether a tool is in the search path.
pub(crate) fn have(tool: &str) -> Result<(), Skip> {
    let found = env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(tool).is_file()));
    found
        .then_some(())
        .ok_or_else(|| Skip(format!("there is no `{tool}` on this machine")))
}

/// Runs a command to its end; panics with all it said unless it succeeds.
pub(crate) fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end, however it ends.
pub(crate) fn output(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A command that is killed when this process ends, however that comes about.
pub(crate) fn bound_to_us(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Waits until `condition` holds; panics with `what` after `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
