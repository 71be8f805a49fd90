//! Network namespaces of a benchmark's own.
//!
//! Always true: the host's own network never sees what is in them; they go with
//! the benchmark, and all their interfaces with them, or with the next benchmark
//! if this one is killed.

use std::path::Path;
use std::process::{self, Command};

use crate::failure::Failure;
use crate::host;

/// How a benchmark's namespaces are called, before the number of its process.
const NAME: &str = "crore-bench-";
/// Where `ip netns` keeps them.
const NAMESPACES: &str = "/run/netns";

/// A network namespace, removed when dropped.
pub(super) struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one; `part` tells several of one benchmark apart. `what` wants it, and
    /// is said where this process may make none.
    pub(super) fn new(part: &str, what: &str) -> Result<Self, Failure> {
        remove_stale();
        let name = format!("{NAME}{}{part}", process::id());
        host::ip(&["netns", "add", &name]).map_err(|failure| {
            Failure::run(format!(
                "{what} makes a network namespace, so run it as root: {failure}"
            ))
        })?;
        Ok(Self { name })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A program inside; `ip` becomes it, so that it has the same process number.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// `ip` inside.
    pub(super) fn ip(&self, arguments: &[&str]) -> Result<(), Failure> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        host::ip(&all).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(failure) = host::ip(&["netns", "del", &self.name]) {
            log::warn!("the namespace stays: {failure}");
        }
    }
}

/// Removes the namespaces of benchmarks that were killed before they could.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir(NAMESPACES) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = host::ip(&["netns", "del", name]);
        }
    }
}

/// Whose namespace it is, if it is a benchmark's.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(NAME)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn a_namespace_is_known_by_its_owner() {
        for (name, whose) in [
            ("crore-bench-17", Some(17)),
            ("crore-bench-17-2-relay", Some(17)),
            ("crore-bench-", None),
            ("crore-e2e-17-0", None),
        ] {
            assert_eq!(owner(name), whose, "{name}");
        }
    }
}
