//! From the configuration to started ports.

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crore::MacAddr;
use crore::config::{Config, ConfigError, EalLog, HugePages, MemifRole, WireKind};
use crore_dpdk::{
    Eal, EalConfig, LogLevel, Mempool, MempoolConfig, Offloads, PciDevices, Port, PortConfig, RingConfig,
    Wire, ring_ports,
};

use crate::failure::Failure;

/// A TAP wire's kernel interface, when none is named.
pub(crate) const TAP_INTERFACE: &str = "crore0";
/// A TAP port's address, when none is given: always the same, so that what the
/// host remembers from the last start still holds.
const TAP_MAC: MacAddr = MacAddr([0x02, 0x00, 0x00, 0x77, 0x00, 0x02]);
/// The largest IP packet where nobody says otherwise.
const USUAL_MTU: u16 = 1500;
/// Ethernet's header and check sequence.
const ETHERNET: u16 = 14 + 4;

/// What a driver that does not give back everything keeps at most when its port
/// closes: a fill ring and a completion ring (af_xdp), or its rings (zero-copy memif).
const KEPT_BY_DRIVER: u32 = 4096;

/// EAL, with the ports of a wire started: one, or both ends of a ring.
#[derive(Debug)]
pub(crate) struct OpenWire {
    pub(crate) ports: Vec<Port>,
    pub(crate) pool: Mempool,
    pub(crate) eal: Eal,
    /// Sockets that were made here, and go at the end.
    sockets: Vec<MadeSocket>,
}

impl OpenWire {
    /// Starts EAL and the wire's ports.
    pub(crate) fn open(config: &Config) -> Result<Self, Failure> {
        let wire = describe(config);
        let sockets = MadeSocket::of(config)?;
        let eal = Eal::start(&eal_config(config, &wire)?)?;
        let mtu = mtu(config);
        let pool = Mempool::new(&eal, pool_config(config))?;
        let names = match wire.port_name(0) {
            Some(name) => vec![name],
            None => {
                let slots = u32::from(config.wire.rx_descriptors);
                let (first, second) = ring_ports(
                    &eal,
                    &RingConfig {
                        slots,
                        queues: config.queues(),
                        ..RingConfig::default()
                    },
                )?;
                vec![first, second]
            }
        };
        let settings = port_config(config, mtu);
        let ports = names
            .iter()
            .map(|name| {
                Port::open(&eal, name, &settings, &pool).map_err(|error| too_many_queues(config, error))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            ports,
            pool,
            eal,
            sockets,
        })
    }

    /// Stops and closes what is left of the ports, and says how many packet
    /// buffers have not come back.
    pub(crate) fn close(self) -> u32 {
        let Self {
            ports,
            pool,
            eal,
            sockets,
        } = self;
        let kept = if ports.iter().all(Port::gives_back_all) {
            0
        } else {
            KEPT_BY_DRIVER
        };
        drop(ports);
        let in_use = pool.in_use().saturating_sub(kept);
        drop(pool);
        drop(eal);
        drop(sockets);
        in_use
    }
}

/// What to change when a port has not so many queues.
fn too_many_queues(config: &Config, error: crore_dpdk::Error) -> Failure {
    let many = config.queues() > 1;
    match error {
        crore_dpdk::Error::Limit { what, .. } if many && what == crore_dpdk::NUMBER_OF_QUEUES => {
            let key = if config.wire.queues.is_some() {
                "wire.queues"
            } else {
                "eal.cores"
            };
            Failure::run(format!(
                "{key}: {error}; a shard on each core needs a queue of its own"
            ))
        }
        error => error.into(),
    }
}

/// The pool of packet buffers that a configuration describes.
pub(crate) fn pool_config(config: &Config) -> MempoolConfig {
    MempoolConfig::for_wire(config.wire.buffers, &describe(config), mtu(config))
}

/// The kernel's interface on the other end of a TAP wire.
pub(crate) fn tap_interface(config: &Config) -> &str {
    config.wire.interface.as_deref().unwrap_or(TAP_INTERFACE)
}

/// EAL's start for one wire.
pub(crate) fn eal_config(config: &Config, wire: &Wire) -> Result<EalConfig, Failure> {
    Ok(EalConfig {
        cores: config.eal.cores.clone(),
        memory_mib: config.eal.memory_mb,
        huge_pages: match config.eal.huge_pages {
            HugePages::Auto => crore_dpdk::HugePages::Auto,
            HugePages::Never => crore_dpdk::HugePages::Never,
            HugePages::Require => crore_dpdk::HugePages::Require,
        },
        log_level: match config.eal.log_level {
            EalLog::Error => LogLevel::Error,
            EalLog::Warning => LogLevel::Warning,
            EalLog::Notice => LogLevel::Notice,
            EalLog::Info => LogLevel::Info,
            EalLog::Debug => LogLevel::Debug,
        },
        vdevs: wire.vdev(0)?.into_iter().collect(),
        pci: match wire {
            Wire::Pci { address } => PciDevices::Allow(vec![address.clone()]),
            _ => PciDevices::None,
        },
        ..EalConfig::default()
    })
}

/// What the configuration describes, in DPDK's terms.
fn describe(config: &Config) -> Wire {
    let wire = &config.wire;
    let interface = || wire.interface.clone().unwrap_or_else(|| TAP_INTERFACE.into());
    let socket = || {
        wire.socket
            .as_deref()
            .map(|p| p.display().to_string())
            .unwrap_or_default()
    };
    let (mac, queues) = (config.net.mac, config.queues());
    match wire.kind {
        WireKind::Tap => Wire::Tap {
            iface: interface(),
            mac: Some(mac.unwrap_or(TAP_MAC)),
        },
        WireKind::AfPacket => match Wire::af_packet(&interface(), queues) {
            Wire::AfPacket {
                iface,
                queues,
                max_frame,
                slots,
                ..
            } => Wire::AfPacket {
                iface,
                queues,
                max_frame,
                slots,
                qdisc_bypass: wire.qdisc_bypass,
            },
            other => other,
        },
        WireKind::AfXdp => Wire::AfXdp {
            iface: interface(),
            queues,
            busy_budget: wire.busy_budget,
            force_copy: wire.force_copy,
        },
        WireKind::Memif => Wire::Memif {
            socket: socket(),
            role: match wire.role {
                MemifRole::Server => crore_dpdk::MemifRole::Server,
                MemifRole::Client => crore_dpdk::MemifRole::Client,
            },
            id: wire.id,
            zero_copy: wire.zero_copy,
            max_frame: mtu(config).saturating_add(ETHERNET),
            mac,
        },
        WireKind::Vhost => Wire::Vhost {
            path: socket(),
            queues,
            client: wire.reverse,
            tso: wire.tso && wire.offload,
        },
        WireKind::VirtioUser => Wire::VirtioUser {
            path: socket(),
            queues,
            server: wire.reverse,
            mac,
        },
        WireKind::Ring => Wire::Ring,
        WireKind::Pci => Wire::Pci {
            address: wire.address.clone().unwrap_or_default(),
        },
    }
}

/// The MTU that a configuration asks for.
pub(crate) fn mtu(config: &Config) -> u16 {
    let of_kernel = || match config.wire.kind {
        WireKind::AfPacket | WireKind::AfXdp => interface_mtu(config.wire.interface.as_deref()?),
        _ => None,
    };
    config.net.mtu.or_else(of_kernel).unwrap_or(USUAL_MTU)
}

/// The MTU of a kernel interface, where the stack can use it.
pub(crate) fn interface_mtu(name: &str) -> Option<u16> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?;
    let mtu: u32 = text.trim().parse().ok()?;
    Some(mtu.min(9000) as u16)
}

/// What is asked of a port.
pub(crate) fn port_config(config: &Config, mtu: u16) -> PortConfig {
    let offload = config.wire.offload && !config.faults.any();
    PortConfig {
        mtu,
        queues: config.queues(),
        rx_descriptors: config.wire.rx_descriptors,
        tx_descriptors: config.wire.tx_descriptors,
        offloads: Offloads {
            tso: offload && config.wire.tso,
            ..if offload { Offloads::ALL } else { Offloads::NONE }
        },
        ..PortConfig::default()
    }
}

/// A unix socket that the wire's driver makes. What a killed run left behind is
/// removed first; what was made goes with this.
#[derive(Debug)]
struct MadeSocket(PathBuf);

impl MadeSocket {
    fn of(config: &Config) -> Result<Vec<Self>, Failure> {
        let made_here = match config.wire.kind {
            WireKind::Memif => config.wire.role == MemifRole::Server,
            WireKind::Vhost => !config.wire.reverse,
            WireKind::VirtioUser => config.wire.reverse,
            _ => false,
        };
        match &config.wire.socket {
            Some(path) if made_here => {
                remove_stale(path)?;
                Ok(vec![Self(path.clone())])
            }
            _ => Ok(Vec::new()),
        }
    }
}

impl Drop for MadeSocket {
    fn drop(&mut self) {
        if is_socket(&self.0) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

fn remove_stale(path: &Path) -> Result<(), Failure> {
    let wrong =
        |message: String| Err(ConfigError::of_key(path.display().to_string(), "wire.socket", message).into());
    if !path.exists() {
        return Ok(());
    }
    if !is_socket(path) {
        return wrong("is there already and is no socket".into());
    }
    // Nobody listens: refused. Somebody does, with sockets of whatever type: anything else.
    match UnixStream::connect(path) {
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            log::info!(
                "{} is left from a run that was killed: removing it",
                path.display()
            );
            std::fs::remove_file(path).map_err(|e| Failure::run(format!("{}: {e}", path.display())))
        }
        _ => wrong("another process is listening on it".into()),
    }
}
