//! What a port is and can do.

use core::ffi::{CStr, c_char};

use crore_base::MacAddr;

use crate::error::{Error, errno_text};
use crate::port::Offloads;

/// The state of a port's link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Whether frames can pass.
    pub up: bool,
    /// In Mbit/s; `None` when the driver does not know.
    pub mbps: Option<u32>,
    /// Both ways at once.
    pub full_duplex: bool,
}

/// What EAL knows about a port.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortInfo {
    /// EAL's number for it, as long as the process lives.
    pub id: u16,
    /// The vdev's name or the PCI address.
    pub name: String,
    /// The driver, as `net_tap`.
    pub driver: String,
    /// Its address.
    pub mac: MacAddr,
    /// The IP MTU that is set, in bytes.
    pub mtu: u16,
    /// The largest IP MTU that the driver allows, in bytes.
    pub max_mtu: u16,
    /// The link, as last known (asking does not wait).
    pub link: Link,
    /// The NUMA node, if the driver knows.
    pub numa_node: Option<u32>,
    /// The kernel's interface behind it, if any.
    pub interface: Option<String>,
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most transmit queues.
    pub max_tx_queues: u16,
    /// Fewest and most descriptors of a receive queue.
    pub rx_descriptors: (u16, u16),
    /// Fewest and most descriptors of a transmit queue.
    pub tx_descriptors: (u16, u16),
    /// Bytes of the RSS key; 0 without RSS.
    pub rss_key_bytes: u8,
    /// Entries of the RSS table; 0 when it can't be read.
    pub rss_table: u16,
    /// What RSS can hash, as DPDK's bits; 0 without RSS.
    pub rss_types: u64,
    /// Capabilities of receiving, as DPDK's bits.
    pub rx_offload_bits: u64,
    /// Capabilities of sending, as DPDK's bits.
    pub tx_offload_bits: u64,
}

impl PortInfo {
    /// DPDK's names of what the port can do on receiving, as `TCP_CKSUM`.
    pub fn rx_offloads(&self) -> Vec<String> {
        // SAFETY: takes any bit; returns a static string.
        names(self.rx_offload_bits, |bit| unsafe {
            dpdk_sys::rte_eth_dev_rx_offload_name(bit)
        })
    }

    /// DPDK's names of what the port can do on sending.
    pub fn tx_offloads(&self) -> Vec<String> {
        // SAFETY: takes any bit; returns a static string.
        names(self.tx_offload_bits, |bit| unsafe {
            dpdk_sys::rte_eth_dev_tx_offload_name(bit)
        })
    }

    /// The offloads that it names and that this crate knows how to use.
    pub fn offloads(&self) -> Offloads {
        Offloads {
            rx_checksum: self.receives_with(dpdk_sys::CRORE_RX_OFFLOAD_TCP_CKSUM),
            tx_ipv4_checksum: self.sends_with(dpdk_sys::CRORE_TX_OFFLOAD_IPV4_CKSUM),
            tx_tcp_checksum: self.sends_with(dpdk_sys::CRORE_TX_OFFLOAD_TCP_CKSUM),
            tso: self.tso(),
        }
    }

    /// Whether it cuts large segments, which lie in several buffers, into those of an
    /// MTU.
    pub fn tso(&self) -> bool {
        self.sends_with(dpdk_sys::CRORE_TX_OFFLOAD_TCP_TSO)
            && self.sends_with(dpdk_sys::CRORE_TX_OFFLOAD_TCP_CKSUM)
            && self.sends_with(dpdk_sys::CRORE_TX_OFFLOAD_MULTI_SEGS)
    }

    /// Whether it spreads a frame over several buffers that are too small for it.
    pub fn scatter(&self) -> bool {
        self.receives_with(dpdk_sys::CRORE_RX_OFFLOAD_SCATTER)
    }

    /// Whether it says that it divides TCP's flows among its queues.
    pub fn rss(&self) -> bool {
        self.rss_types & dpdk_sys::CRORE_RSS_TCP != 0
    }

    fn receives_with(&self, bit: u64) -> bool {
        self.rx_offload_bits & bit != 0
    }

    fn sends_with(&self, bit: u64) -> bool {
        self.tx_offload_bits & bit != 0
    }

    /// Whether the driver only imitates checksum offloads in software, at a cost
    /// that Crore's own software does not have.
    pub fn imitates_offloads(&self) -> bool {
        self.driver == "net_tap"
    }
}

fn names(bits: u64, name: impl Fn(u64) -> *const c_char) -> Vec<String> {
    (0..u64::BITS)
        .map(|shift| 1u64 << shift)
        .filter(|bit| bits & bit != 0)
        .map(|bit| text(name(bit)))
        .collect()
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: callers hand NUL-terminated strings that DPDK keeps for as long as the
    // port exists, and the text is copied at once.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Everything about the port with this id.
pub(crate) fn read(id: u16) -> Result<PortInfo, Error> {
    let raw = raw(id)?;
    let mut mtu = 0u16;
    // SAFETY: a live integer; the id was accepted above.
    unsafe { dpdk_sys::rte_eth_dev_get_mtu(id, &mut mtu) };
    // SAFETY: takes any id.
    let node = unsafe { dpdk_sys::rte_eth_dev_socket_id(id) };
    let interface = interface_name(raw.if_index);
    // DPDK knows 1500 by default, the kernel knows better.
    let of_interface = interface
        .as_deref()
        .and_then(interface_mtu)
        .and_then(|mtu| mtu.try_into().ok());
    Ok(PortInfo {
        id,
        name: name(id),
        driver: text(raw.driver_name),
        mac: mac(id),
        mtu: of_interface.unwrap_or(mtu),
        max_mtu: largest_mtu(&raw, &text(raw.driver_name)),
        link: link(id),
        numa_node: u32::try_from(node).ok(),
        interface,
        max_rx_queues: raw.max_rx_queues,
        max_tx_queues: raw.max_tx_queues,
        rx_descriptors: (raw.rx_desc_lim.nb_min, raw.rx_desc_lim.nb_max),
        tx_descriptors: (raw.tx_desc_lim.nb_min, raw.tx_desc_lim.nb_max),
        rss_key_bytes: raw.hash_key_size,
        rss_table: raw.reta_size,
        rss_types: raw.flow_type_rss_offloads,
        rx_offload_bits: raw.rx_offload_capa,
        tx_offload_bits: raw.tx_offload_capa,
    })
}

/// ethdev holds an MTU against the longest frame that a driver names as well, and
/// where drivers name no MTU that is all that it goes by.
fn largest_mtu(raw: &dpdk_sys::rte_eth_dev_info, driver: &str) -> u16 {
    const ETHERNET: u32 = 14 + 4;
    // Wrong by their nature: memif carries what its buffers hold and always says 1518;
    // af_packet and af_xdp are as their interface is.
    if matches!(driver, "net_memif" | "net_af_packet" | "net_af_xdp") {
        return raw.max_mtu;
    }
    let around = match raw.max_rx_pktlen.checked_sub(raw.max_mtu.into()) {
        Some(around) if raw.max_mtu != u16::MAX => around,
        _ => ETHERNET,
    };
    let of_frame = raw.max_rx_pktlen.saturating_sub(around);
    u16::try_from(of_frame).unwrap_or(u16::MAX).min(raw.max_mtu)
}

pub(crate) fn raw(id: u16) -> Result<dpdk_sys::rte_eth_dev_info, Error> {
    let mut raw = dpdk_sys::rte_eth_dev_info::default();
    // SAFETY: takes any id and a live structure.
    match unsafe { dpdk_sys::rte_eth_dev_info_get(id, &mut raw) } {
        0 => Ok(raw),
        errno => Err(Error::Call {
            call: "rte_eth_dev_info_get",
            said: errno_text(errno),
        }),
    }
}

pub(crate) fn name(id: u16) -> String {
    let mut buffer = [0 as c_char; dpdk_sys::RTE_ETH_NAME_MAX_LEN as usize];
    // SAFETY: the buffer has the length that DPDK asks for.
    match unsafe { dpdk_sys::rte_eth_dev_get_name_by_port(id, buffer.as_mut_ptr()) } {
        0 => text(buffer.as_ptr()),
        _ => format!("port {id}"),
    }
}

pub(crate) fn mac(id: u16) -> MacAddr {
    let mut mac = dpdk_sys::rte_ether_addr::default();
    // SAFETY: takes any id and a live structure.
    unsafe { dpdk_sys::rte_eth_macaddr_get(id, &mut mac) };
    MacAddr(mac.addr_bytes)
}

pub(crate) fn link(id: u16) -> Link {
    const UNKNOWN: u32 = u32::MAX;
    let mut link = dpdk_sys::rte_eth_link::default();
    // SAFETY: takes any id and a live structure.
    if unsafe { dpdk_sys::rte_eth_link_get_nowait(id, &mut link) } != 0 {
        return Link::default();
    }
    Link {
        up: u32::from(link.link_status()) == dpdk_sys::RTE_ETH_LINK_UP,
        mbps: Some(link.link_speed).filter(|speed| *speed != 0 && *speed != UNKNOWN),
        full_duplex: u32::from(link.link_duplex()) == dpdk_sys::RTE_ETH_LINK_FULL_DUPLEX,
    }
}

fn interface_name(index: u32) -> Option<String> {
    if index == 0 {
        return None;
    }
    let mut buffer = [0 as c_char; libc::IF_NAMESIZE];
    // SAFETY: the buffer has IF_NAMESIZE bytes, as if_indextoname asks.
    let name = unsafe { libc::if_indextoname(index, buffer.as_mut_ptr()) };
    (!name.is_null()).then(|| text(name))
}

/// The MTU of a kernel interface in this network namespace.
pub(crate) fn interface_mtu(name: &str) -> Option<u32> {
    if name.len() >= libc::IF_NAMESIZE || name.is_empty() {
        return None;
    }
    // SAFETY: plain integers and bytes; all-zero is valid.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    // SAFETY: no pointers are passed.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return None;
    }
    // SAFETY: SIOCGIFMTU reads the name (NUL-terminated by the zeroes) and writes the
    // union's ifru_mtu.
    let status = unsafe { libc::ioctl(socket, libc::SIOCGIFMTU as _, &mut request) };
    // SAFETY: the descriptor was opened here and is closed once.
    unsafe { libc::close(socket) };
    if status != 0 {
        return None;
    }
    // SAFETY: the kernel filled this member, since the call succeeded.
    u32::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_mtu_is_what_ethdev_will_take() {
        for (driver, max_rx_pktlen, max_mtu, wanted) in [
            ("net_tap", 1522, u16::MAX, 1504),
            ("net_ring", u32::MAX, u16::MAX, u16::MAX),
            ("net_ice", 9728, 9702, 9702),
            ("net_memif", 1518, u16::MAX, u16::MAX),
            ("net_af_packet", 1514, u16::MAX, u16::MAX),
            ("net_odd", 0, u16::MAX, 0),
        ] {
            let raw = dpdk_sys::rte_eth_dev_info {
                max_rx_pktlen,
                max_mtu,
                ..Default::default()
            };
            assert_eq!(largest_mtu(&raw, driver), wanted, "{driver}");
        }
    }

    #[test]
    fn the_mtu_of_an_interface_is_the_kernels() {
        assert!(
            interface_mtu("lo").is_some_and(|mtu| mtu >= 1500),
            "the loopback interface has one"
        );
        for missing in ["", "no-such-iface", "a-name-that-is-longer-than-any-interface"] {
            assert_eq!(interface_mtu(missing), None, "{missing:?} does not exist");
        }
    }
}
