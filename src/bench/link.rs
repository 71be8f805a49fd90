//! The wire of af_packet: a veth pair in a network namespace that both ends run in.

use std::path::Path;
use std::process::Command;

use super::namespace::Namespace;
use crate::failure::Failure;

/// A namespace with a veth pair.
pub(super) struct Link(Namespace);

impl Link {
    pub(super) fn new() -> Result<Self, Failure> {
        let namespace = Namespace::new("", "--wire af_packet")?;
        let (server, client) = (Self::interface(true), Self::interface(false));
        namespace.ip(&["link", "add", server, "type", "veth", "peer", "name", client])?;
        for end in [server, client] {
            namespace.ip(&["link", "set", end, "up"])?;
        }
        Ok(Self(namespace))
    }

    /// The interface of one end.
    pub(super) const fn interface(is_server: bool) -> &'static str {
        if is_server { "server" } else { "client" }
    }

    /// A program in the namespace; `ip` becomes it, so that it has the same process number.
    pub(super) fn command(&self, program: &Path) -> Command {
        self.0.command(program)
    }
}
