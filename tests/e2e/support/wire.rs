//! The wires on which a kernel can be the other end, each made ready for one test.

use super::{Namespace, Program, Skip, have, machine_lock, output, run};
use std::{fmt::Write as _, fs, fs::File, path::Path, process::Command};
use tempfile::TempDir;

/// The stack's own addresses on every wire.
pub(crate) const STACK_V4: &str = "10.77.0.2";
/// The stack's own IPv6 address on every wire.
pub(crate) const STACK_V6: &str = "fd77::2";
const PEER_V4: &str = "10.77.0.1/24";
const PEER_V6: &str = "fd77::1/64";
/// The kernel's end of a veth pair, in the peer's namespace; the stack's end is `crore0`.
const PEER_LINK: &str = "peer0";
/// What goes into `[net]` where a router stands between the stack and the peer.
pub(crate) const GATEWAYS: &str = "gateway_v4 = \"10.77.0.1\"\ngateway_v6 = \"fd77::1\"\n";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    AfPacket,
    AfXdp,
    Tap,
}

impl Wire {
    /// Everything that the wire needs, with the peer's addresses set.
    pub(crate) fn world(self) -> Result<World, Skip> {
        let world = match self {
            Self::AfPacket | Self::AfXdp => World::of_veth(self)?,
            Self::Tap => World::of_tap()?,
        };
        if self == Self::AfXdp {
            world.try_af_xdp()?;
        }
        Ok(world)
    }

    fn config(self) -> &'static str {
        match self {
            Self::AfPacket => "kind = \"af_packet\"\ninterface = \"crore0\"",
            Self::AfXdp => "kind = \"af_xdp\"\ninterface = \"crore0\"\nbusy_budget = 0\nforce_copy = true",
            Self::Tap => {
                "kind = \"tap\"\ninterface = \"crore0\"\nhost_addresses = [\"10.77.0.1/24\", \"fd77::1/64\"]"
            }
        }
    }
}

/// One test's surroundings. The fields are dropped in this order: what runs in a
/// namespace is ended before its files are removed.
pub(crate) struct World {
    wire: Wire,
    /// Where the kernel client runs.
    pub(crate) peer: Namespace,
    /// Where the program runs, if that is not the peer's.
    stack: Option<Namespace>,
    /// What forwards between the two, if they share no link.
    router: Option<Namespace>,
    folder: TempDir,
    _machine: File,
}

impl World {
    /// A veth pair, one end in either namespace. The stack's end is mute: no kernel address on it.
    fn of_veth(wire: Wire) -> Result<Self, Skip> {
        have("ethtool")?;
        let machine = machine_lock();
        let stack = Namespace::new("stack")?;
        let peer = Namespace::new("peer")?;
        let mut make = Command::new("ip");
        make.args([
            "link",
            "add",
            "crore0",
            "netns",
            stack.name(),
            "type",
            "veth",
            "peer",
            "name",
        ]);
        run(make.args([PEER_LINK, "netns", peer.name()]));
        // The kernel under the stack's end must not speak for itself, not even as a neighbour.
        run(stack
            .command("sysctl")
            .args(["-q", "-w", "net.ipv6.conf.crore0.disable_ipv6=1"]));
        stack.ip("link set crore0 up");
        peer.ip(&format!("link set {PEER_LINK} up"));
        peer.ip(&format!("addr add {PEER_V4} dev {PEER_LINK}"));
        peer.ip(&format!("addr add {PEER_V6} dev {PEER_LINK} nodad"));
        let world = Self {
            wire,
            peer,
            stack: Some(stack),
            router: None,
            folder: new_folder(),
            _machine: machine,
        };
        world.peer_checksum_offload(false);
        Ok(world)
    }

    /// As over AF_PACKET, but the peer is behind a router whose link to it bears packets of
    /// `mtu` bytes only. The peer's own end of that link knows nothing of it, and the stack
    /// neither: the router has to tell. For a configuration with [`GATEWAYS`].
    pub(crate) fn routed(mtu: u16) -> Result<Self, Skip> {
        let mut world = Self::of_veth(Wire::AfPacket)?;
        let far = Namespace::new("far")?;
        let router = std::mem::replace(&mut world.peer, far);
        let far = &world.peer;
        let mut make = Command::new("ip");
        make.args([
            "link",
            "add",
            "far0",
            "netns",
            router.name(),
            "type",
            "veth",
            "peer",
        ]);
        run(make.args(["name", PEER_LINK, "netns", far.name()]));
        run(router.command("sysctl").args([
            "-q",
            "-w",
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
        ]));
        router.ip(&format!("link set far0 mtu {mtu} up"));
        router.ip("addr add 10.78.0.1/24 dev far0");
        router.ip("addr add fd78::1/64 dev far0 nodad");
        far.ip(&format!("link set {PEER_LINK} up"));
        far.ip(&format!("addr add 10.78.0.2/24 dev {PEER_LINK}"));
        far.ip(&format!("addr add fd78::2/64 dev {PEER_LINK} nodad"));
        far.ip("route add default via 10.78.0.1");
        far.ip("-6 route add default via fd78::1");
        world.router = Some(router);
        world.peer_checksum_offload(false);
        Ok(world)
    }

    /// The program makes the TAP device itself, in the namespace that is its client's too.
    fn of_tap() -> Result<Self, Skip> {
        if !Path::new("/dev/net/tun").exists() {
            return Err(Skip("there is no /dev/net/tun".into()));
        }
        let machine = machine_lock();
        Ok(Self {
            wire: Wire::Tap,
            peer: Namespace::new("tap")?,
            stack: None,
            router: None,
            folder: new_folder(),
            _machine: machine,
        })
    }

    /// Starts the program once, to see whether this kernel and this DPDK can do AF_XDP at all.
    fn try_af_xdp(&self) -> Result<(), Skip> {
        let attempt = output(
            self.program("serve")
                .args(["discard", "--config"])
                .arg(self.config(""))
                .args(["--set", "serve.duration_seconds=1"]),
        );
        let said = String::from_utf8_lossy(&attempt.stderr);
        if said.contains("serving") {
            return Ok(());
        }
        Err(Skip(format!(
            "AF_XDP does not start here: {}",
            said.lines().last().unwrap_or("nothing was said").trim()
        )))
    }

    /// Whether the peer's kernel leaves the TCP checksum to a NIC that does not exist.
    pub(crate) fn peer_checksum_offload(&self, on: bool) {
        let state = if on { "on" } else { "off" };
        run(self.peer.command("ethtool").args(["-K", PEER_LINK, "tx", state]));
    }

    /// Cuts or mends the wire on the peer's side, without a word to the stack.
    pub(crate) fn peer_link(&self, up: bool) {
        let link = if self.wire == Wire::Tap {
            "crore0"
        } else {
            PEER_LINK
        };
        self.peer
            .ip(&format!("link set {link} {}", if up { "up" } else { "down" }));
    }

    /// Sets both ends of a veth pair to an MTU, before the program starts.
    pub(crate) fn set_mtu(&self, mtu: u16) {
        let stack = self.stack.as_ref().expect("a veth pair has two ends");
        stack.ip(&format!("link set crore0 mtu {mtu}"));
        self.peer.ip(&format!("link set {PEER_LINK} mtu {mtu}"));
    }

    /// A folder of the test's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `crore SUBCOMMAND`, to be run where its end of the wire is.
    pub(crate) fn program(&self, subcommand: &str) -> Command {
        let mut command = self.stack.as_ref().unwrap_or(&self.peer).command(super::bin());
        command.arg(subcommand);
        command
    }

    /// Writes the configuration of this wire, with `more` behind it, and tells where.
    pub(crate) fn config(&self, more: &str) -> std::path::PathBuf {
        let mut text = format!("[wire]\n{}\n", self.wire.config());
        writeln!(text, "[net]\naddresses = [\"{STACK_V4}/24\", \"{STACK_V6}/64\"]").expect("a String grows");
        text.push_str(more);
        let path = self.folder().join("crore.toml");
        fs::write(&path, text).expect("the test's folder can be written");
        path
    }

    /// `crore serve SERVICE`, up and waiting for clients. `more` is TOML that follows the wire's.
    pub(crate) fn serve(&self, service: &str, more: &str) -> Program {
        let mut command = self.program("serve");
        command.arg(service).arg("--config").arg(self.config(more));
        Program::start(command, self.folder().join(format!("{service}.log")))
    }

    /// A command of `tests/peers/peer.py`, in the peer's namespace.
    pub(crate) fn peer(&self, arguments: &str) -> Command {
        let mut command = self.peer.command("python3");
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/peer.py"))
            .args(arguments.split(' '));
        command
    }
}

fn new_folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("crore-e2e-")
        .tempdir()
        .expect("a temporary folder can be made")
}
