//! What no single key can get wrong alone: keys that contradict each other, and
//! things that they name and that are not there.

use std::net::IpAddr;
use std::path::Path;

use super::keys::WireKind::{AfPacket, AfXdp, Memif, Pci, Tap, Vhost, VirtioUser};
use super::load::Origins;
use super::section::Section;
use super::{Config, ConfigError, Wire, WireKind};

/// Which kinds of wire a key of `[wire]` belongs to; keys not listed belong to all.
const KEYS_OF_KINDS: &[(&str, &[WireKind])] = &[
    ("interface", &[Tap, AfPacket, AfXdp]),
    ("host_addresses", &[Tap]),
    ("socket", &[Memif, Vhost, VirtioUser]),
    ("role", &[Memif]),
    ("id", &[Memif]),
    ("zero_copy", &[Memif]),
    ("reverse", &[Vhost, VirtioUser]),
    ("qdisc_bypass", &[AfPacket]),
    ("force_copy", &[AfXdp]),
    ("busy_budget", &[AfXdp]),
    ("address", &[Pci]),
];

/// The most pairs of queues that DPDK's drivers take; those not listed say so themselves.
const QUEUES_OF_KINDS: &[(WireKind, u16)] = &[
    (Tap, 16),
    (AfPacket, 16),
    (Memif, 255),
    (Vhost, 128),
    (VirtioUser, 8),
    (WireKind::Ring, 16),
];

/// Packet buffers that each polling thread may keep in its cache.
const THREAD_CACHE: u32 = 512;

/// The kernel's limit for an interface's name (IFNAMSIZ without its NUL).
const INTERFACE_NAME_MAX: usize = 15;

/// The kernel's limit for a unix socket's path (sun_path without its NUL).
const SOCKET_PATH_MAX: usize = 107;

impl Config {
    /// Everything that can be known to be wrong before DPDK starts.
    pub(super) fn check(&self, origins: &Origins) -> Result<(), ConfigError> {
        self.check_wire_keys(origins)?;
        self.check_wire(origins)?;
        self.check_net(origins)?;
        self.check_tcp(origins)?;
        self.check_stack(origins)?;
        self.check_serve(origins)?;
        self.check_shards(origins)
    }

    fn check_shards(&self, origins: &Origins) -> Result<(), ConfigError> {
        let cores = &self.eal.cores;
        let twice = |i: usize| cores[..i].contains(&cores[i]);
        if let Some(i) = (0..cores.len()).find(|&i| twice(i)) {
            let message = format!("core {} is there twice", cores[i]);
            return Err(origins.complain("eal.cores", message));
        }
        let (queues, shards) = (self.queues(), self.shards());
        let key = if self.wire.queues.is_some() {
            "wire.queues"
        } else {
            "eal.cores"
        };
        if queues < shards {
            let message = format!("{queues} are too few for {shards} shards (eal.cores): each needs its own");
            return Err(origins.complain(key, message));
        }
        let kind = self.wire.kind;
        let limit = QUEUES_OF_KINDS.iter().find(|(of, _)| *of == kind);
        if let Some(&(_, limit)) = limit
            && queues > limit
        {
            let message = format!(
                "{queues} pairs of queues are too many: a {} wire has at most {limit}",
                kind.word()
            );
            return Err(origins.complain(key, message));
        }
        // One queue may do with less, and says so itself.
        let taken =
            u32::from(queues) * u32::from(self.wire.rx_descriptors) + u32::from(shards) * THREAD_CACHE;
        if queues > 1 && taken >= self.wire.buffers {
            let message = format!(
                "{} are too few: {queues} queues and {shards} shards keep {taken} for themselves",
                self.wire.buffers
            );
            return Err(origins.complain("wire.buffers", message));
        }
        Ok(())
    }

    fn check_wire_keys(&self, origins: &Origins) -> Result<(), ConfigError> {
        let kind = self.wire.kind;
        for (key, kinds) in KEYS_OF_KINDS {
            let path = format!("{}.{key}", Wire::NAME);
            if origins.said(&path) && !kinds.contains(&kind) {
                let kinds: Vec<_> = kinds.iter().map(|k| k.word()).collect();
                let message = format!("belongs to {}, not to a {} wire", kinds.join(", "), kind.word());
                return Err(origins.complain(&path, message));
            }
        }
        let needed = match kind {
            AfPacket | AfXdp => self.wire.interface.is_none().then_some("interface"),
            Memif | Vhost | VirtioUser => self.wire.socket.is_none().then_some("socket"),
            Pci => self.wire.address.is_none().then_some("address"),
            Tap | WireKind::Ring => None,
        };
        match needed {
            Some(key) => {
                let message = format!("is needed for a {} wire", kind.word());
                Err(origins.complain(&format!("{}.{key}", Wire::NAME), message))
            }
            None => Ok(()),
        }
    }

    fn check_wire(&self, origins: &Origins) -> Result<(), ConfigError> {
        if let Some(interface) = &self.wire.interface {
            check_interface(interface, self.wire.kind)
                .map_err(|why| origins.complain("wire.interface", why))?;
        }
        if let Some(socket) = &self.wire.socket {
            let must_exist = match self.wire.kind {
                VirtioUser => !self.wire.reverse,
                Vhost => self.wire.reverse,
                _ => false,
            };
            check_socket(socket, must_exist).map_err(|why| origins.complain("wire.socket", why))?;
        }
        if let Some(address) = &self.wire.address {
            check_pci(address).map_err(|why| origins.complain("wire.address", why))?;
        }
        Ok(())
    }

    fn check_net(&self, origins: &Origins) -> Result<(), ConfigError> {
        if self.net.mac.is_some() && !matches!(self.wire.kind, Tap | Memif | VirtioUser) {
            let message = format!(
                "can't be chosen on a {} wire; the port has its own",
                self.wire.kind.word()
            );
            return Err(origins.complain("net.mac", message));
        }
        let addresses = &self.net.addresses;
        if addresses.is_empty() {
            let message = r#"is needed, as in addresses = ["10.77.0.2/24", "fd77::2/64"]"#;
            return Err(origins.complain("net.addresses", message));
        }
        for (i, prefix) in addresses.iter().enumerate() {
            if addresses[..i].iter().any(|other| other.address == prefix.address) {
                let message = format!("{} is there twice", prefix.address);
                return Err(origins.complain("net.addresses", message));
            }
        }
        for host in &self.wire.host_addresses {
            if addresses.iter().any(|ours| ours.address == host.address) {
                let message = format!(
                    "{} is Crore's own (net.addresses); the host needs another",
                    host.address
                );
                return Err(origins.complain("wire.host_addresses", message));
            }
        }
        if let Some(gateway) = self.net.gateway_v4 {
            self.check_gateway(gateway.into(), false)
                .map_err(|why| origins.complain("net.gateway_v4", why))?;
        }
        if let Some(gateway) = self.net.gateway_v6 {
            let link_local = gateway.is_unicast_link_local();
            self.check_gateway(gateway.into(), link_local)
                .map_err(|why| origins.complain("net.gateway_v6", why))?;
        }
        Ok(())
    }

    fn check_gateway(&self, gateway: IpAddr, anywhere: bool) -> Result<(), String> {
        let family = if gateway.is_ipv4() { "IPv4" } else { "IPv6" };
        let same_family = |a: IpAddr| a.is_ipv4() == gateway.is_ipv4();
        let mut addresses = self.net.addresses.iter();
        if !addresses.clone().any(|p| same_family(p.address)) {
            return Err(format!(
                "{gateway} is an {family} address, but net.addresses has no {family} address"
            ));
        }
        if addresses.clone().any(|p| p.address == gateway) {
            return Err(format!("{gateway} is Crore's own address (net.addresses)"));
        }
        if !anywhere && !addresses.any(|p| p.contains(gateway)) {
            return Err(format!("{gateway} is not on the link of any of net.addresses"));
        }
        Ok(())
    }

    fn check_tcp(&self, origins: &Origins) -> Result<(), ConfigError> {
        let tcp = &self.tcp;
        if tcp.rto_min_ms > tcp.rto_max_ms {
            let message = format!(
                "{} ms is more than tcp.rto_max_ms, {} ms",
                tcp.rto_min_ms, tcp.rto_max_ms
            );
            return Err(origins.complain("tcp.rto_min_ms", message));
        }
        if tcp.rto_initial_ms > tcp.rto_max_ms {
            let message = format!(
                "{} ms is more than tcp.rto_max_ms, {} ms",
                tcp.rto_initial_ms, tcp.rto_max_ms
            );
            return Err(origins.complain("tcp.rto_initial_ms", message));
        }
        if tcp.fast_open_keys().is_none() {
            let message = "a key has 32 hex digits; several are separated by commas".to_owned();
            return Err(origins.complain("tcp.fast_open_keys", message));
        }
        Ok(())
    }

    fn check_stack(&self, origins: &Origins) -> Result<(), ConfigError> {
        let stack = &self.stack;
        if stack.ephemeral_first > stack.ephemeral_last {
            let message = format!(
                "{} lies above stack.ephemeral_last, {}",
                stack.ephemeral_first, stack.ephemeral_last
            );
            return Err(origins.complain("stack.ephemeral_first", message));
        }
        Ok(())
    }

    fn check_serve(&self, origins: &Origins) -> Result<(), ConfigError> {
        if let Some(root) = &self.serve.root {
            match std::fs::metadata(root) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => {
                    let message = format!("{} is no directory", root.display());
                    return Err(origins.complain("serve.root", message));
                }
                Err(e) => {
                    return Err(origins.complain("serve.root", format!("{}: {e}", root.display())));
                }
            }
        }
        Ok(())
    }
}

fn check_interface(name: &str, kind: WireKind) -> Result<(), String> {
    let odd = |c: char| c.is_whitespace() || c == '/' || c == ',' || c == ':';
    if name.is_empty() || name.len() > INTERFACE_NAME_MAX || name.contains(odd) || name == "." || name == ".."
    {
        return Err(format!(
            "{name:?} is no interface name (1 to {INTERFACE_NAME_MAX} characters)"
        ));
    }
    let exists = Path::new("/sys/class/net").join(name).exists();
    match kind {
        AfPacket | AfXdp if !exists => Err(format!(
            "there is no interface {name:?} here (`ip -br link` lists them)"
        )),
        Tap if exists => Err(format!(
            "an interface {name:?} exists already; a tap wire makes its own, under a free name"
        )),
        _ => Ok(()),
    }
}

fn check_socket(path: &Path, must_exist: bool) -> Result<(), String> {
    let text = path
        .to_str()
        .filter(|t| !t.is_empty() && t.len() <= SOCKET_PATH_MAX && !t.contains(','));
    if text.is_none() {
        return Err(format!(
            "{:?} can't name a socket: 1 to {SOCKET_PATH_MAX} bytes of UTF-8 without commas",
            path.display()
        ));
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(format!("there is no directory {}", folder.display()));
    }
    if must_exist && !path.exists() {
        return Err(format!(
            "there is no socket {}; start the other end first",
            path.display()
        ));
    }
    Ok(())
}

fn check_pci(address: &str) -> Result<(), String> {
    let well_formed = || {
        let (rest, function) = address.rsplit_once('.')?;
        let parts: Vec<_> = rest.split(':').collect();
        let hex = |s: &str, len: usize| s.len() == len && s.bytes().all(|b| b.is_ascii_hexdigit());
        let shaped = match parts[..] {
            [domain, bus, device] => hex(domain, 4) && hex(bus, 2) && hex(device, 2),
            [bus, device] => hex(bus, 2) && hex(device, 2),
            _ => false,
        };
        (shaped && matches!(function.as_bytes(), [b'0'..=b'7'])).then_some(())
    };
    if well_formed().is_none() {
        return Err(format!("{address:?} is no PCI address, as in 0000:00:04.0"));
    }
    let full = if address.len() == 7 {
        format!("0000:{address}")
    } else {
        address.to_owned()
    };
    if Path::new("/sys/bus/pci/devices").join(&full).exists() {
        Ok(())
    } else {
        Err(format!(
            "there is no PCI device {full} here (`dpdk-devbind.py --status` lists them)"
        ))
    }
}
