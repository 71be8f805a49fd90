//! A port: configured, started, and stopped when nobody uses it any more.
//!
//! Always true: a `Port` is started, with all its queues set up; its queues and
//! the buffers in its rings go before the pools that they came from.

use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crore_base::MacAddr;

use crate::eal::Eal;
use crate::error::{Error, errno_text};
use crate::info::{self, Link, PortInfo};
use crate::log_capture::{self, Listening};
use crate::mempool::Mempool;
use crate::queue::QueuePair;
use crate::ring::RingWire;
use crate::rss::{self, AskedKey, Rss};
use crate::stats::{self, PortStats, XStat};
use crate::wire;

/// What an [`Error::Limit`] about queues speaks of.
pub const NUMBER_OF_QUEUES: &str = "a number of queues";

/// Work that a NIC can take over: what is wanted, or what was agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offloads {
    /// Verdicts on the checksums of received packets.
    pub rx_checksum: bool,
    /// IPv4 header checksums of sent packets.
    pub tx_ipv4_checksum: bool,
    /// TCP checksums of sent packets.
    pub tx_tcp_checksum: bool,
    /// Large TCP segments cut into those of an MTU; only with their checksums.
    pub tso: bool,
}

impl Offloads {
    /// All of them.
    pub const ALL: Self = Self {
        rx_checksum: true,
        tx_ipv4_checksum: true,
        tx_tcp_checksum: true,
        tso: true,
    };
    /// None of them.
    pub const NONE: Self = Self {
        rx_checksum: false,
        tx_ipv4_checksum: false,
        tx_tcp_checksum: false,
        tso: false,
    };
}

/// How a port is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// The IP MTU in bytes. An interface of the kernel's (af_packet, af_xdp) keeps its
    /// own when that is smaller; it is never changed.
    pub mtu: u16,
    /// Pairs of queues; each is polled by one thread.
    pub queues: u16,
    /// Descriptors of each receive queue, moved into what the driver allows.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue, moved into what the driver allows.
    pub tx_descriptors: u16,
    /// Offloads to use where the driver has them.
    pub offloads: Offloads,
    /// Receives frames for other stations too; skipped where the driver can't.
    pub promiscuous: bool,
    /// Receives all multicast (neighbour discovery needs some); skipped where the
    /// driver can't.
    pub all_multicast: bool,
    /// How long to wait for a peer that has to be there first (the server of a memif
    /// client).
    pub connect_timeout: Duration,
}

impl PortConfig {
    /// Whether frames of this MTU take more than one buffer of `pool`.
    pub fn scatters(&self, pool: &Mempool) -> bool {
        const ETHERNET: u32 = 14;
        u32::from(self.mtu) + ETHERNET > u32::from(pool.config().frame)
    }
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            mtu: 1500,
            queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            offloads: Offloads::ALL,
            promiscuous: false,
            all_multicast: true,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// A started port: a cheap handle. The port stops and closes when the last handle
/// and the last of its queues are gone.
#[derive(Clone, Debug)]
pub struct Port(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u16,
    name: String,
    driver: String,
    mac: MacAddr,
    mtu: u16,
    offloads: Offloads,
    gives_back: bool,
    pairs: u16,
    scatter: bool,
    queues: Mutex<Option<u16>>,
    rss: Option<Rss>,
    /// After `id` has been closed (`Drop` runs first): what is still in the rings of
    /// a ring pair goes back to its pools, then the pools may go.
    _wire: Option<Arc<RingWire>>,
    pool: Mempool,
    /// The driver may look at it for as long as the port lives.
    _rss_key: Option<AskedKey>,
    _eal: Eal,
}

impl Port {
    /// Configures and starts the port of this name (a vdev's name, a PCI address, or
    /// what [`ring_ports`](crate::ring_ports) returned), receiving into `pool`.
    ///
    /// # Errors
    /// [`Error::NoPort`], [`Error::Limit`], [`Error::Port`] with DPDK's words.
    pub fn open(eal: &Eal, name: &str, config: &PortConfig, pool: &Mempool) -> Result<Self, Error> {
        let info = eal.port_info(name)?;
        check_limits(&info, config)?;
        let setup = Setup {
            info: &info,
            config,
            pool,
            listening: Listening::start(),
        };
        let (offloads, rss_key) = setup.configure()?;
        setup.queues()?;
        setup.start()?;
        setup.modes();
        let mtu = setup.effective_mtu();
        let gives_back = eal.gives_back(&info);
        if !gives_back {
            pool.expect_losses();
        }
        let port = Self(Arc::new(Inner {
            id: info.id,
            gives_back,
            mac: info::mac(info.id),
            mtu,
            offloads,
            pairs: config.queues,
            scatter: config.scatters(pool) && info.scatter(),
            queues: Mutex::new(Some(config.queues)),
            rss: rss_key
                .as_deref()
                .and_then(|key| rss::read(&info, config.queues, key)),
            _rss_key: rss_key,
            _wire: RingWire::of(&info.name, pool),
            name: info.name,
            driver: info.driver,
            pool: pool.clone(),
            _eal: eal.clone(),
        }));
        Ok(port)
    }

    /// The queues, the first time; nothing after that, since each has one owner.
    pub fn take_queues(&self) -> Vec<QueuePair> {
        let taken = self.0.queues.lock().ok().and_then(|mut queues| queues.take());
        (0..taken.unwrap_or(0))
            .map(|index| QueuePair::new(self.clone(), index))
            .collect()
    }

    /// EAL's number for the port.
    pub fn id(&self) -> u16 {
        self.0.id
    }

    /// The vdev's name or the PCI address.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its driver.
    pub fn driver(&self) -> &str {
        &self.0.driver
    }

    /// Its address.
    pub fn mac(&self) -> MacAddr {
        self.0.mac
    }

    /// The IP MTU that was agreed on, in bytes.
    pub fn mtu(&self) -> u16 {
        self.0.mtu
    }

    /// The offloads that were agreed on.
    pub fn offloads(&self) -> Offloads {
        self.0.offloads
    }

    /// Pairs of queues.
    pub fn queues(&self) -> u16 {
        self.0.pairs
    }

    /// Whether a received frame may come in several buffers.
    pub fn scatter(&self) -> bool {
        self.0.scatter
    }

    /// How it divides flows among its queues; none where it does not, or where
    /// that can't be read.
    pub fn rss(&self) -> Option<&Rss> {
        self.0.rss.as_ref()
    }

    /// The pool that it receives into.
    pub fn pool(&self) -> &Mempool {
        &self.0.pool
    }

    /// Whether the driver gives every buffer back when the port closes, so that
    /// [`Mempool::in_use`] can be held against zero. af_xdp and a zero-copy memif
    /// client don't.
    pub fn gives_back_all(&self) -> bool {
        self.0.gives_back
    }

    /// The link now, without waiting. Where a peer has to connect (memif, vhost,
    /// virtio_user in server mode) it is up while the peer is there.
    pub fn link(&self) -> Link {
        info::link(self.0.id)
    }

    /// Waits for the link, for at most `timeout`; says whether it is up.
    pub fn wait_for_link(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while !self.link().up {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(Duration::from_millis(10));
        }
        true
    }

    /// What the port is and can do.
    ///
    /// # Errors
    /// When the driver does not answer.
    pub fn info(&self) -> Result<PortInfo, Error> {
        info::read(self.0.id)
    }

    /// What the port has counted.
    ///
    /// # Errors
    /// When the driver counts nothing.
    pub fn stats(&self) -> Result<PortStats, Error> {
        stats::stats(self.0.id)
    }

    /// What the driver has counted under names of its own.
    ///
    /// # Errors
    /// When the driver counts nothing.
    pub fn xstats(&self) -> Result<Vec<XStat>, Error> {
        stats::xstats(self.0.id)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: the port is started, and neither a handle nor a queue of it is left,
        // so that nobody polls.
        let status = unsafe { dpdk_sys::rte_eth_dev_stop(self.id) };
        if status != 0 {
            log::warn!("port `{}` did not stop: {}", self.name, errno_text(status));
        }
        // SAFETY: stopped, and nobody has its number any more.
        let status = unsafe { dpdk_sys::rte_eth_dev_close(self.id) };
        if status != 0 {
            log::warn!("port `{}` did not close: {}", self.name, errno_text(status));
        }
    }
}

fn check_limits(info: &PortInfo, config: &PortConfig) -> Result<(), Error> {
    let limit = |what, wanted: u32, limit: String| {
        Err(Error::Limit {
            port: info.name.clone(),
            driver: info.driver.clone(),
            what,
            wanted,
            limit,
        })
    };
    let queues = info.max_rx_queues.min(info.max_tx_queues);
    if config.queues == 0 || config.queues > queues {
        return limit(NUMBER_OF_QUEUES, config.queues.into(), format!("1 to {queues}"));
    }
    if config.mtu < 576 || config.mtu > info.max_mtu {
        return limit("an MTU", config.mtu.into(), format!("576 to {}", info.max_mtu));
    }
    Ok(())
}

struct Setup<'a> {
    info: &'a PortInfo,
    config: &'a PortConfig,
    pool: &'a Mempool,
    listening: Listening,
}

impl Setup<'_> {
    fn failed(&self, step: &'static str, errno: i32) -> Error {
        let said = log_capture::said().unwrap_or_else(|| errno_text(errno));
        let hint = if said.contains("fit in mbuf") || said.contains("too small") {
            format!(
                "the pool's buffers take frames of {} bytes, and this wire needs larger ones",
                self.pool.config().frame
            )
        } else {
            wire::probe_hint(&self.info.name)
        };
        Error::Port {
            port: self.info.name.clone(),
            step,
            said,
            hint,
        }
    }

    fn check(&self, step: &'static str, errno: i32) -> Result<(), Error> {
        if errno == 0 {
            Ok(())
        } else {
            Err(self.failed(step, errno))
        }
    }

    /// Whether an MTU belongs to an interface of the kernel's, which is not ours to
    /// change and whose driver reports limits of its own making.
    fn borrows_interface(&self) -> bool {
        matches!(self.info.driver.as_str(), "net_af_packet" | "net_af_xdp")
    }

    /// Whether the driver is to be told the MTU: memif's would refuse what it carries
    /// (see [`PortInfo::max_mtu`]).
    fn tells_mtu(&self) -> bool {
        !self.borrows_interface() && self.info.driver != "net_memif"
    }

    fn effective_mtu(&self) -> u16 {
        let of_interface = self.info.interface.as_deref().and_then(info::interface_mtu);
        match of_interface.and_then(|mtu| u16::try_from(mtu).ok()) {
            Some(mtu) if self.borrows_interface() => self.config.mtu.min(mtu),
            _ => self.config.mtu,
        }
    }

    /// What was agreed on, and the key of RSS if that is on.
    fn configure(&self) -> Result<(Offloads, Option<AskedKey>), Error> {
        use dpdk_sys as d;
        let can = self.info.offloads();
        let wanted = if self.info.imitates_offloads() {
            Offloads::NONE
        } else {
            self.config.offloads
        };
        let agreed = Offloads {
            rx_checksum: wanted.rx_checksum && can.rx_checksum,
            tx_ipv4_checksum: wanted.tx_ipv4_checksum && can.tx_ipv4_checksum,
            tx_tcp_checksum: wanted.tx_tcp_checksum && can.tx_tcp_checksum,
            tso: wanted.tso && wanted.tx_tcp_checksum && can.tso,
        };
        let mut conf = d::rte_eth_conf::default();
        let mut rx = 0;
        if agreed.rx_checksum {
            // virtio agrees on TCP only together with UDP.
            rx |= d::CRORE_RX_OFFLOAD_TCP_CKSUM
                | d::CRORE_RX_OFFLOAD_UDP_CKSUM
                | d::CRORE_RX_OFFLOAD_IPV4_CKSUM;
        }
        if self.config.scatters(self.pool) {
            rx |= d::CRORE_RX_OFFLOAD_SCATTER;
        }
        conf.rxmode.offloads = rx & self.info.rx_offload_bits;
        if agreed.tx_ipv4_checksum {
            conf.txmode.offloads |= d::CRORE_TX_OFFLOAD_IPV4_CKSUM;
        }
        if agreed.tx_tcp_checksum {
            conf.txmode.offloads |= d::CRORE_TX_OFFLOAD_TCP_CKSUM;
        }
        if agreed.tso {
            conf.txmode.offloads |= d::CRORE_TX_OFFLOAD_TCP_TSO | d::CRORE_TX_OFFLOAD_MULTI_SEGS;
        }
        if self.tells_mtu() {
            conf.rxmode.mtu = self.config.mtu.into();
        }
        let rss_key = self.configure_with_rss(&conf);
        if rss_key.is_none() {
            self.check("configuring it", self.try_configure(&conf))?;
        }
        Ok((agreed, rss_key))
    }

    /// With RSS as well, where there is something to divide and the driver says that
    /// it can; the key, unless it can't after all.
    fn configure_with_rss(&self, conf: &dpdk_sys::rte_eth_conf) -> Option<AskedKey> {
        let mut conf = *conf;
        let mut key = rss::request(self.info, self.config.queues, &mut conf)?;
        conf.rx_adv_conf.rss_conf.rss_key = key.as_mut_ptr();
        match self.try_configure(&conf) {
            0 => Some(key),
            status => {
                log::debug!("port `{}` refuses RSS: {}", self.info.name, errno_text(status));
                self.listening.forget();
                None
            }
        }
    }

    fn try_configure(&self, conf: &dpdk_sys::rte_eth_conf) -> i32 {
        let queues = self.config.queues;
        // SAFETY: takes any id; `conf` is a complete structure, zeroed but for what was set;
        // a key in it outlives the port (`Inner`).
        unsafe { dpdk_sys::rte_eth_dev_configure(self.info.id, queues, queues, conf) }
    }

    fn queues(&self) -> Result<(), Error> {
        let id = self.info.id;
        let (mut rx, mut tx) = (self.config.rx_descriptors, self.config.tx_descriptors);
        // SAFETY: takes any id and live integers.
        let status = unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx, &mut tx) };
        self.check("adjusting the number of descriptors", status)?;
        let node = self.info.numa_node.unwrap_or(u32::MAX);
        let raw = self.pool.raw();
        for queue in 0..self.config.queues {
            // SAFETY: the port is configured with this many queues; no configuration means
            // the driver's default; the pool outlives the port (`Inner`'s order).
            let status =
                unsafe { dpdk_sys::rte_eth_rx_queue_setup(id, queue, rx, node, core::ptr::null(), raw) };
            self.check("setting up a receive queue", status)?;
            // SAFETY: as above.
            let status = unsafe { dpdk_sys::rte_eth_tx_queue_setup(id, queue, tx, node, core::ptr::null()) };
            self.check("setting up a transmit queue", status)?;
        }
        Ok(())
    }

    /// Starts it. A memif client connects here and fails while its server is away, so
    /// that this is tried until the time is over.
    fn start(&self) -> Result<(), Error> {
        const AGAIN: Duration = Duration::from_millis(50);
        let deadline = Instant::now() + self.config.connect_timeout;
        loop {
            self.listening.forget();
            // SAFETY: configured, all queues set up.
            let status = unsafe { dpdk_sys::rte_eth_dev_start(self.info.id) };
            if status == 0 {
                return Ok(());
            }
            if self.info.driver != "net_memif" || Instant::now() >= deadline {
                return Err(self.failed("starting it", status));
            }
            sleep(AGAIN);
        }
    }

    /// Modes are wishes: not every driver knows them, and a ring has none.
    fn modes(&self) {
        let id = self.info.id;
        // SAFETY: takes any id.
        if self.config.promiscuous && unsafe { dpdk_sys::rte_eth_promiscuous_enable(id) } != 0 {
            log::debug!("port `{}` has no promiscuous mode", self.info.name);
        }
        // SAFETY: takes any id.
        if self.config.all_multicast && unsafe { dpdk_sys::rte_eth_allmulticast_enable(id) } != 0 {
            log::debug!("port `{}` has no all-multicast mode", self.info.name);
        }
    }
}
