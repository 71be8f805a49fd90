//! A network namespace of a test's own, gone when the test is.

use super::{Skip, bound_to_us, have, output, run};
use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{self, Command},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

const PREFIX: &str = "crore-e2e";

/// Dropping it kills what still runs in it and removes it, with every interface in it.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one with `lo` up.
    pub(crate) fn new(role: &str) -> Result<Self, Skip> {
        static STALE: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        have("ip")?;
        STALE.call_once(remove_stale);
        let name = format!(
            "{PREFIX}-{}-{}-{role}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let made = output(Command::new("ip").args(["netns", "add", &name]));
        if !made.status.success() {
            return Err(Skip(format!(
                "no network namespace can be made ({}); run as root",
                String::from_utf8_lossy(&made.stderr).trim()
            )));
        }
        let namespace = Self { name };
        namespace.ip("link set lo up");
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A command to be run inside, killed at the latest when this process ends.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = bound_to_us("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// `ip -n NAME ARGUMENTS`.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        run(Command::new("ip")
            .args(["-n", &self.name])
            .args(arguments.split(' ')))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn remove(name: &str) {
    let inside = output(Command::new("ip").args(["netns", "pids", name]));
    for pid in String::from_utf8_lossy(&inside.stdout).split_whitespace() {
        output(Command::new("kill").args(["-KILL", pid]));
    }
    output(Command::new("ip").args(["netns", "del", name]));
}

/// Removes what test processes left behind that were killed before they could clean up.
fn remove_stale() {
    let Ok(names) = fs::read_dir("/run/netns") else {
        return;
    };
    for name in names.flatten() {
        let name = name.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').nth(1)?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
}
