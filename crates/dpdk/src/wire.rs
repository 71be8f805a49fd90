//! The kinds of wire that a port can stand on, and how each is put to DPDK.
//!
//! Read first: DPDK's "Network Interface Controller Drivers" guide, the page of the
//! driver in question; `README.md` of this crate for what each needs and how it
//! behaves while the other end is away.

use std::path::PathBuf;

use crore_base::MacAddr;

use crate::devargs::value;
use crate::error::Error;
use crate::vdev::Vdev;

/// The longest name of a kernel interface (IFNAMSIZ without its NUL).
const INTERFACE_MAX: usize = 15;
/// The longest path of a Unix socket (`sun_path` without its NUL).
const SOCKET_MAX: usize = 107;
/// What af_packet keeps in front of a frame in its ring (TPACKET2_HDRLEN), a VLAN
/// tag and the Ethernet header, rounded up.
const AF_PACKET_OVERHEAD: u32 = 128;
const PAGE: u32 = 4096;

/// Which end of a memif connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemifRole {
    /// Makes the socket, waits, maps the other's memory.
    Server,
    /// Connects; owns the memory that both share.
    Client,
}

/// What a port stands on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wire {
    /// A TAP interface of this host's kernel; needs CAP_NET_ADMIN.
    Tap {
        /// The interface's name, at most 15 bytes.
        iface: String,
        /// The port's address. Without one it is random at each start, and what the
        /// host remembers of the last start (ARP) leads nowhere.
        mac: Option<MacAddr>,
    },
    /// A kernel interface, shared by AF_PACKET rings; needs CAP_NET_RAW and
    /// CAP_NET_ADMIN.
    AfPacket {
        /// The interface's name.
        iface: String,
        /// Pairs of queues (PACKET_FANOUT_HASH spreads over them).
        queues: u16,
        /// Sends past the kernel's queueing discipline.
        qdisc_bypass: bool,
        /// The longest frame in bytes that a slot of the ring holds; a longer one (a
        /// super-frame of a peer with segmentation offload) is cut off in silence.
        max_frame: u32,
        /// Slots of each ring.
        slots: u32,
    },
    /// A kernel interface, shared by AF_XDP sockets; needs CAP_NET_RAW, CAP_NET_ADMIN
    /// and CAP_BPF.
    AfXdp {
        /// The interface's name.
        iface: String,
        /// How many of its queues, from queue 0.
        queues: u16,
        /// Busy-poll budget; 0 turns busy polling off, which some drivers (veth) need.
        busy_budget: u16,
        /// Copies, where the driver's zero-copy mode fails.
        force_copy: bool,
    },
    /// Memory shared with another process.
    Memif {
        /// The Unix socket's path, the same at both ends.
        socket: String,
        /// Which end this is.
        role: MemifRole,
        /// The connection's number on that socket, the same at both ends.
        id: u32,
        /// Lets the client's own packet buffers be the shared memory; a client's choice,
        /// and only with huge pages. The driver keeps what is in its rings (2,048 buffers)
        /// for good when the connection ends.
        zero_copy: bool,
        /// The longest frame in bytes that one shared buffer holds. The client's word
        /// counts; a longer frame takes several buffers.
        max_frame: u16,
        /// The port's address; random without one.
        mac: Option<MacAddr>,
    },
    /// The device's side of virtio: what a VM or a virtio_user port connects to.
    Vhost {
        /// The Unix socket's path.
        path: String,
        /// Pairs of queues.
        queues: u16,
        /// Connects to a socket that the driver's side made, instead of making it.
        client: bool,
        /// The driver's side may send segments larger than the MTU, which take several
        /// buffers here.
        tso: bool,
    },
    /// The driver's side of virtio, for a vhost port in another process.
    VirtioUser {
        /// The Unix socket's path.
        path: String,
        /// Pairs of queues.
        queues: u16,
        /// Makes the socket, for a vhost port with `client`.
        server: bool,
        /// The port's address; random without one.
        mac: Option<MacAddr>,
    },
    /// Two ports of this process joined by rings; made by
    /// [`ring_ports`](crate::ring_ports), not by EAL.
    Ring,
    /// A NIC on the PCI bus, bound to a driver of DPDK's.
    Pci {
        /// Its address, as `0000:00:04.0`.
        address: String,
    },
}

impl Wire {
    /// An AF_PACKET wire with rings that hold frames of the interface's own MTU and
    /// at least of 1500 bytes. An interface that does not exist is left to fail at
    /// start, where DPDK names it.
    pub fn af_packet(iface: &str, queues: u16) -> Self {
        let mtu = crate::info::interface_mtu(iface).unwrap_or(1500).max(1500);
        Self::AfPacket {
            iface: iface.to_owned(),
            queues,
            qdisc_bypass: true,
            max_frame: mtu.saturating_add(18),
            slots: 1024,
        }
    }

    /// An AF_XDP wire with the settings that work on every interface.
    pub fn af_xdp(iface: &str, queues: u16) -> Self {
        Self::AfXdp {
            iface: iface.to_owned(),
            queues,
            busy_budget: 0,
            force_copy: true,
        }
    }

    /// The device to start EAL with; `index` tells several of one kind apart.
    /// `None` for [`Wire::Ring`] and [`Wire::Pci`], which are no software devices.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for a name that can't be an argument of DPDK's.
    pub fn vdev(&self, index: u16) -> Result<Option<Vdev>, Error> {
        let (driver, arguments) = match self {
            Self::Ring | Self::Pci { .. } => return Ok(None),
            Self::Tap { iface, mac } => ("net_tap", tap(iface, *mac)?),
            Self::AfPacket {
                iface,
                queues,
                qdisc_bypass,
                max_frame,
                slots,
            } => (
                "net_af_packet",
                af_packet(iface, *queues, *qdisc_bypass, *max_frame, *slots)?,
            ),
            Self::AfXdp {
                iface,
                queues,
                busy_budget,
                force_copy,
            } => {
                let iface = value("interface", iface, INTERFACE_MAX)?;
                let copy = u8::from(*force_copy);
                (
                    "net_af_xdp",
                    format!(
                        "iface={iface},start_queue=0,queue_count={queues},busy_budget={busy_budget},force_copy={copy}"
                    ),
                )
            }
            Self::Memif {
                socket,
                role,
                id,
                zero_copy,
                max_frame,
                mac,
            } => (
                "net_memif",
                memif(socket, *role, *id, *zero_copy, *max_frame, *mac)?,
            ),
            Self::Vhost {
                path,
                queues,
                client,
                tso,
            } => {
                let path = value("socket", path, SOCKET_MAX)?;
                let (client, tso) = (u8::from(*client), u8::from(*tso));
                (
                    "net_vhost",
                    format!("iface={path},queues={queues},client={client},tso={tso}"),
                )
            }
            Self::VirtioUser {
                path,
                queues,
                server,
                mac,
            } => {
                let path = value("socket", path, SOCKET_MAX)?;
                let arguments = format!("path={path},queues={queues},queue_size=1024");
                let server = if *server { ",server=1" } else { "" };
                ("net_virtio_user", arguments + server + &mac_argument(*mac))
            }
        };
        Ok(Some(Vdev {
            name: format!("{driver}{index}"),
            arguments,
            needs_huge_pages: matches!(
                self,
                Self::Memif {
                    role: MemifRole::Client,
                    zero_copy: true,
                    ..
                }
            ),
            listens_on: self.listens_on(),
        }))
    }

    fn listens_on(&self) -> Option<PathBuf> {
        match self {
            Self::Memif {
                socket: path,
                role: MemifRole::Server,
                ..
            }
            | Self::Vhost {
                path, client: false, ..
            }
            | Self::VirtioUser {
                path, server: true, ..
            } => Some(path.into()),
            _ => None,
        }
    }

    /// Bytes that each buffer of the port's pool has to hold
    /// ([`MempoolConfig::frame`](crate::MempoolConfig)), for frames of this IP MTU.
    pub fn buffer_frame(&self, mtu: u16) -> u16 {
        // Ethernet header, a VLAN tag, the check sequence that some NICs keep, and the
        // header that virtio counts as a part of the frame.
        let frame = mtu.saturating_add(14 + 4 + 4 + 12).max(2048);
        match self {
            Self::AfPacket { max_frame, .. } => {
                let slot = af_packet_slot(*max_frame)
                    .ok()
                    .and_then(|slot| u16::try_from(slot).ok());
                frame.max(slot.unwrap_or(0))
            }
            // So that the driver copies without looking for another buffer.
            Self::Memif { max_frame, .. } => frame.max(memif_buffer(*max_frame)),
            _ => frame,
        }
    }

    /// The name under which the port is found: the vdev's, or the PCI address.
    /// `None` for [`Wire::Ring`].
    pub fn port_name(&self, index: u16) -> Option<String> {
        match self {
            Self::Pci { address } => Some(address.clone()),
            _ => self.vdev(index).ok().flatten().map(|vdev| vdev.name),
        }
    }
}

fn mac_argument(mac: Option<MacAddr>) -> String {
    mac.map(|mac| format!(",mac={mac}")).unwrap_or_default()
}

fn tap(iface: &str, mac: Option<MacAddr>) -> Result<String, Error> {
    let iface = value("interface", iface, INTERFACE_MAX)?;
    Ok(format!("iface={iface}{}", mac_argument(mac)))
}

fn af_packet(iface: &str, queues: u16, bypass: bool, max_frame: u32, slots: u32) -> Result<String, Error> {
    let iface = value("interface", iface, INTERFACE_MAX)?;
    let slot = af_packet_slot(max_frame)?;
    // The driver walks the ring as one run of slots, so that a block holds a whole
    // number of them; small blocks, since the kernel wants each in one piece.
    let block = slot.max(PAGE);
    let slots = slots.clamp(8, 1 << 16).next_multiple_of(block / slot);
    Ok(format!(
        "iface={iface},qpairs={queues},qdisc_bypass={},blocksz={block},framesz={slot},framecnt={slots}",
        u8::from(bypass)
    ))
}

/// Bytes of a ring's slot for frames of this length: half a page or whole pages.
fn af_packet_slot(max_frame: u32) -> Result<u32, Error> {
    // What the driver receives into has to hold a whole slot, in 16 bits.
    const SLOT_MAX: u32 = 15 * PAGE;
    match max_frame.saturating_add(AF_PACKET_OVERHEAD) {
        0..=2048 => Ok(2048),
        size if size <= SLOT_MAX => Ok(size.next_multiple_of(PAGE)),
        _ => Err(Error::BadArgument {
            what: format!("af_packet frames of {max_frame} bytes"),
            why: format!("a slot holds at most {}", SLOT_MAX - AF_PACKET_OVERHEAD),
        }),
    }
}

/// What the driver shares if nobody says otherwise.
const MEMIF_BUFFER: u16 = 2048;

/// Bytes of a shared buffer for frames of this length.
fn memif_buffer(max_frame: u16) -> u16 {
    let buffer = max_frame.max(MEMIF_BUFFER).checked_next_multiple_of(1024);
    buffer.unwrap_or(max_frame)
}

fn memif(
    socket: &str,
    role: MemifRole,
    id: u32,
    zero_copy: bool,
    max_frame: u16,
    mac: Option<MacAddr>,
) -> Result<String, Error> {
    let socket = value("socket", socket, SOCKET_MAX)?;
    let role = match role {
        MemifRole::Server => "server",
        MemifRole::Client => "client",
    };
    // The server refuses the argument: whether to copy is the client's choice.
    let zero_copy = if zero_copy && role == "client" {
        ",zero-copy=yes"
    } else {
        ""
    };
    let buffer = match memif_buffer(max_frame) {
        MEMIF_BUFFER => String::new(),
        other => format!(",bsize={other}"),
    };
    Ok(format!(
        "role={role},id={id},socket={socket},socket-abstract=no,rsize=10{buffer}{zero_copy}{}",
        mac_argument(mac)
    ))
}

/// What to do about a device that did not come up, by its name.
pub(crate) fn probe_hint(name: &str) -> String {
    let has = |driver: &str| name.starts_with(driver);
    let hint = if has("net_tap") {
        "TAP needs CAP_NET_ADMIN and /dev/net/tun; is the interface's name free?"
    } else if has("net_af_packet") {
        "AF_PACKET needs CAP_NET_RAW and CAP_NET_ADMIN; does the interface exist (`ip link`)?"
    } else if has("net_af_xdp") {
        "AF_XDP needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF; does the interface exist, with no other XDP program on it?"
    } else if has("net_memif") {
        "a memif server has to run before its clients, with a socket in a folder that exists"
    } else if has("net_vhost") {
        "vhost needs a socket path in a folder that exists and can be written to"
    } else if has("net_virtio_user") || has("virtio_user") {
        "virtio_user needs its vhost peer's socket to exist: start the peer first, or use server mode"
    } else if name.contains(':') {
        "is the device bound to vfio-pci (`dpdk-devbind.py --status`) and in the allow list?"
    } else {
        "check the device's name and that its driver is installed (package dpdk)"
    };
    hint.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(wire: &Wire) -> String {
        wire.vdev(3).expect("good arguments").expect("a vdev").to_string()
    }

    #[test]
    fn each_wire_speaks_its_drivers_language() {
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
        let table = [
            (
                Wire::Tap {
                    iface: "crore0".into(),
                    mac,
                },
                "net_tap3,iface=crore0,mac=02:00:00:00:00:01",
            ),
            (
                Wire::AfXdp {
                    iface: "veth0".into(),
                    queues: 2,
                    busy_budget: 0,
                    force_copy: true,
                },
                "net_af_xdp3,iface=veth0,start_queue=0,queue_count=2,busy_budget=0,force_copy=1",
            ),
            (
                Wire::Memif {
                    socket: "/run/m.sock".into(),
                    role: MemifRole::Client,
                    id: 7,
                    zero_copy: true,
                    max_frame: 1518,
                    mac: None,
                },
                "net_memif3,role=client,id=7,socket=/run/m.sock,socket-abstract=no,rsize=10,zero-copy=yes",
            ),
            (
                Wire::Memif {
                    socket: "/run/m.sock".into(),
                    role: MemifRole::Server,
                    id: 0,
                    zero_copy: false,
                    max_frame: 9018,
                    mac: None,
                },
                "net_memif3,role=server,id=0,socket=/run/m.sock,socket-abstract=no,rsize=10,bsize=9216",
            ),
            (
                Wire::Vhost {
                    path: "/run/v.sock".into(),
                    queues: 1,
                    client: false,
                    tso: false,
                },
                "net_vhost3,iface=/run/v.sock,queues=1,client=0,tso=0",
            ),
            (
                Wire::VirtioUser {
                    path: "/run/v.sock".into(),
                    queues: 1,
                    server: true,
                    mac,
                },
                "net_virtio_user3,path=/run/v.sock,queues=1,queue_size=1024,server=1,mac=02:00:00:00:00:01",
            ),
        ];
        for (wire, wanted) in table {
            assert_eq!(text(&wire), wanted, "arguments of {wire:?}");
        }
        assert_eq!(
            Wire::Ring.vdev(0).expect("no arguments"),
            None,
            "rings are not EAL's to make"
        );
    }

    #[test]
    fn a_buffer_takes_what_memif_shares_in_one_piece() {
        for (max_frame, mtu, frame) in [(1518, 1500, 2048), (9018, 9000, 9216), (9018, 1500, 9216)] {
            let wire = Wire::Memif {
                socket: "/run/m.sock".into(),
                role: MemifRole::Client,
                id: 0,
                zero_copy: false,
                max_frame,
                mac: None,
            };
            assert_eq!(wire.buffer_frame(mtu), frame, "frames of {max_frame}, MTU {mtu}");
        }
    }

    #[test]
    fn a_slot_of_af_packet_holds_the_frame_and_the_kernels_header() {
        for (max_frame, slot) in [(1518u32, 2048u32), (2000, 4096), (9018, 12288), (61_312, 61_440)] {
            let wire = Wire::AfPacket {
                iface: "veth0".into(),
                queues: 1,
                qdisc_bypass: true,
                max_frame,
                slots: 512,
            };
            let block = slot.max(4096);
            assert!(
                u32::from(wire.buffer_frame(1500)) >= slot,
                "a buffer takes a slot of {slot}"
            );
            assert!(
                text(&wire).ends_with(&format!("blocksz={block},framesz={slot},framecnt=512")),
                "{} for frames of {max_frame}",
                text(&wire)
            );
        }
        let wire = Wire::AfPacket {
            iface: "veth0".into(),
            queues: 1,
            qdisc_bypass: true,
            max_frame: 65_549,
            slots: 512,
        };
        assert!(wire.vdev(0).is_err(), "no buffer holds such a slot");
    }
}
