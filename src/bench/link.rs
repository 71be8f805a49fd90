//! The wire of af_packet: a veth pair in a network namespace that both ends run in.
//!
//! Always true: the host's own network never sees either interface; the namespace
//! goes with the benchmark, and both interfaces with it, or with the next
//! benchmark if this one is killed.

use std::path::Path;
use std::process::{self, Command};

use crate::failure::Failure;
use crate::host;

/// How a benchmark's namespace is called, before the number of its process.
const NAME: &str = "crore-bench-";
/// Where `ip netns` keeps them.
const NAMESPACES: &str = "/run/netns";

/// A namespace with a veth pair, removed when dropped.
pub(super) struct Link {
    namespace: String,
}

impl Link {
    pub(super) fn new() -> Result<Self, Failure> {
        remove_stale();
        let namespace = format!("{NAME}{}", process::id());
        host::ip(&["netns", "add", &namespace]).map_err(|failure| {
            Failure::run(format!(
                "--wire af_packet makes a network namespace, so run it as root: {failure}"
            ))
        })?;
        // From here on it is removed whatever happens.
        let link = Self { namespace };
        let (server, client) = (Self::interface(true), Self::interface(false));
        link.ip(&["link", "add", server, "type", "veth", "peer", "name", client])?;
        for end in [server, client] {
            link.ip(&["link", "set", end, "up"])?;
        }
        Ok(link)
    }

    /// The interface of one end.
    pub(super) const fn interface(is_server: bool) -> &'static str {
        if is_server { "server" } else { "client" }
    }

    /// A program in the namespace; `ip` becomes it, so that it has the same process number.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), Failure> {
        let mut all = vec!["-n", &self.namespace];
        all.extend(arguments);
        host::ip(&all).map(drop)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Err(failure) = host::ip(&["netns", "del", &self.namespace]) {
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
        let owner = name.strip_prefix(NAME).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = host::ip(&["netns", "del", name]);
        }
    }
}
