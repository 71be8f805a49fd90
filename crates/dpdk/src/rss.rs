//! How a port divides flows among its queues: receive-side scaling.
//!
//! Read first: DPDK's "Ethernet device" guide (`rte_eth_rss_conf`, the redirection
//! table), `crore_wire::Steering`, which does the same in software.
//!
//! Always true: what is said here was read back from the driver after the port
//! had started; a driver that can't be asked says nothing.

use crore_wire::Toeplitz;

use crate::info::PortInfo;

/// The usual length of a key, for drivers that don't say theirs.
const KEY: usize = 40;
/// The longest redirection table that is read; NICs have 64 to 2048 entries.
const TABLE_MAX: u16 = 4096;

/// The key that a port was asked to use.
pub(crate) type AskedKey = Box<[u8]>;

/// A port's RSS, as its driver tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rss {
    /// The key of the Toeplitz hash.
    pub key: Vec<u8>,
    /// The queue for each value of the hash's low bits.
    pub table: Vec<u16>,
    /// Whether the key is the one that was asked for, which treats both directions
    /// of a flow alike; else it is the port's own.
    pub key_is_ours: bool,
}

/// Asks for RSS over TCP's ports in `conf`, if there are queues to divide among
/// and the driver says that it can. The key has to be pointed to by the caller,
/// who keeps it.
pub(crate) fn request(info: &PortInfo, queues: u16, conf: &mut dpdk_sys::rte_eth_conf) -> Option<AskedKey> {
    let types = info.rss_types & (dpdk_sys::CRORE_RSS_TCP | dpdk_sys::CRORE_RSS_IP);
    // TAP claims it, and fails to create the flows that it would need.
    let claims_only = info.driver == "net_tap";
    if queues < 2 || types & dpdk_sys::CRORE_RSS_TCP == 0 || claims_only {
        return None;
    }
    let key = Toeplitz::symmetric_key(key_len(info)).into_boxed_slice();
    conf.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = types;
    conf.rx_adv_conf.rss_conf.rss_key_len = key.len() as u8;
    Some(key)
}

/// What a started port does; `asked` is the key that it was asked to use.
pub(crate) fn read(info: &PortInfo, queues: u16, asked: &[u8]) -> Option<Rss> {
    let key = read_key(info)?;
    let table = read_table(info, queues)?;
    Some(Rss {
        key_is_ours: key == asked,
        key,
        table,
    })
}

fn key_len(info: &PortInfo) -> usize {
    match info.rss_key_bytes {
        0 => KEY,
        bytes => bytes.into(),
    }
}

fn read_key(info: &PortInfo) -> Option<Vec<u8>> {
    let len = key_len(info);
    // Room for the longest there can be: a driver that does not say how long its key
    // is may not ask how much room there is either.
    let mut key = vec![0; usize::from(u8::MAX)];
    let mut conf = dpdk_sys::rte_eth_rss_conf {
        rss_key: key.as_mut_ptr(),
        rss_key_len: len as u8,
        rss_hf: 0,
    };
    // SAFETY: takes any id; there is room for the longest key whose length fits its field.
    let status = unsafe { dpdk_sys::rte_eth_dev_rss_hash_conf_get(info.id, &mut conf) };
    let hashes_ports = conf.rss_hf & dpdk_sys::CRORE_RSS_TCP != 0;
    key.truncate(len);
    (status == 0 && hashes_ports).then_some(key)
}

fn read_table(info: &PortInfo, queues: u16) -> Option<Vec<u16>> {
    const GROUP: usize = dpdk_sys::RTE_ETH_RETA_GROUP_SIZE as usize;
    let size = info.rss_table;
    if size == 0 || size > TABLE_MAX {
        return None;
    }
    let group = dpdk_sys::rte_eth_rss_reta_entry64 {
        mask: u64::MAX,
        reta: [0; GROUP],
    };
    let mut groups = vec![group; usize::from(size).div_ceil(GROUP)];
    // SAFETY: takes any id; there is a group for each 64 of `size` entries.
    let status = unsafe { dpdk_sys::rte_eth_dev_rss_reta_query(info.id, groups.as_mut_ptr(), size) };
    let table: Vec<u16> = groups
        .iter()
        .flat_map(|group| group.reta)
        .take(size.into())
        .collect();
    (status == 0 && table.iter().all(|&queue| queue < queues)).then_some(table)
}
