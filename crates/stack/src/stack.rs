//! The host itself: its parts, its construction, its clockwork.

use std::collections::VecDeque;

use crore_base::{DropReason, Instant, MacAddr};
use crore_nic::{Capabilities, RxFrame};
use crore_tcp::{FastOpenKeys, IsnGenerator};
use crore_wire::TxChecksum;

use crate::challenges::ChallengeTable;
use crate::control::ControlQueue;
use crate::cookies::Cookies;
use crate::fast_open::FastOpen;
use crate::flow_table::{FlowHasher, FlowTable};
use crate::fragments::FragmentIds;
use crate::input::Scratch;
use crate::listener::Listeners;
use crate::memory::Memory;
use crate::neighbor::{NeighborCache, Wakeups};
use crate::parking::ParkPolicy;
use crate::paths::Paths;
use crate::pool::Pool;
use crate::ports::PortPicker;
use crate::profiles::{ProfileId, Profiles};
use crate::rate_limit::RateLimit;
use crate::reassembly::Reassembler;
use crate::record::Record;
use crate::reset_limit::ResetLimit;
use crate::route::Routes;
use crate::slots::Slots;
use crate::sweep::Sweep;
use crate::syn_ack::SynAckQueue;
use crate::timer_wheel::TimerWheel;
use crate::{ConfigError, ConnId, Counters, Event, ListenerId, StackConfig, State};

/// One TCP/IP host on one shard.
pub struct Stack {
    pub(crate) config: StackConfig,
    /// What each connection is told.
    pub(crate) tcp: Profiles,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: u16,
    pub(crate) tx_checksum: TxChecksum,
    /// The NIC cuts large segments, and finishes all their checksums.
    pub(crate) tso: bool,
    pub(crate) routes: Routes,
    pub(crate) neighbors: NeighborCache,
    pub(crate) wakeups: Wakeups,
    pub(crate) listeners: Listeners,
    pub(crate) ports: PortPicker,
    pub(crate) isn: IsnGenerator,
    pub(crate) hasher: FlowHasher,
    pub(crate) flows: FlowTable,
    pub(crate) slots: Slots,
    /// By place in the pool.
    pub(crate) timers: TimerWheel,
    pub(crate) park_policy: ParkPolicy,
    /// Where the search for a connection to park goes on.
    pub(crate) pool_hand: usize,
    /// Records of which the application wants something that has to wait for a
    /// place in the pool ([`crate::record::Wish`]).
    pub(crate) wishes: VecDeque<u32>,
    /// The last time that was told.
    pub(crate) clock: Instant,
    /// Places in the pool that may have something to send, or a timer to arm, or to be
    /// deleted. Each at most once ([`crate::pool::Active::ready`]).
    pub(crate) ready: VecDeque<u32>,
    /// Places in the pool that may have something to tell the application. Each at most once.
    pub(crate) events: VecDeque<u32>,
    /// Ends to tell of connections whose slots are gone already: at most one for
    /// a received frame, and told before anything else.
    pub(crate) ended: VecDeque<Event>,
    /// The wait in TIME-WAIT that ends next when a record is needed, and the hash of its tuple.
    pub(crate) wait_ahead: Option<(ConnId, u32)>,
    pub(crate) sweep: Sweep,
    pub(crate) control: ControlQueue,
    pub(crate) syn_acks: SynAckQueue,
    pub(crate) cookies: Cookies,
    pub(crate) fast_open: FastOpen,
    /// Data frames sent for which the others have not had their share.
    pub(crate) unshared: usize,
    pub(crate) reset_limit: ResetLimit,
    pub(crate) echo_limit: RateLimit,
    pub(crate) challenges: ChallengeTable,
    /// Connections that their application has given up and that still have
    /// something to bring to their peer.
    pub(crate) orphans: u32,
    pub(crate) icmp_error_limit: RateLimit,
    pub(crate) paths: Paths,
    pub(crate) fragments: Reassembler,
    pub(crate) fragment_ids: FragmentIds,
    /// Frames that were put together here and are another shard's: at most one
    /// for a received frame, and taken after each burst.
    pub(crate) strays: Vec<RxFrame>,
    pub(crate) memory: Memory,
    pub(crate) ip_ident: u16,
    pub(crate) counters: Counters,
    /// What is taken in now was another shard's to answer.
    pub(crate) overhearing: bool,
    pub(crate) scratch: Scratch,
}

impl Stack {
    /// A host with `config` on a NIC with `nic`'s capabilities. `key` is
    /// secret and drawn afresh for each start: sequence numbers, the flow
    /// table's hash and port choice depend on it.
    pub fn new(config: StackConfig, nic: &Capabilities, key: [u8; 16]) -> Result<Self, ConfigError> {
        config.validate()?;
        let routes = Routes::new(&config, nic.mac);
        let mut control = ControlQueue::new();
        // One word for all shards.
        if config.share.as_ref().is_none_or(|share| share.shard == 0) {
            control.announce(&routes, nic.mac);
        }
        Ok(Self {
            tcp: Profiles::new(config.tcp_within_budget(), config.max_connections),
            mac: nic.mac,
            mtu: nic.mtu,
            tso: nic.tx_tso && nic.tx_tcp_checksum,
            tx_checksum: match (nic.tx_tcp_checksum, nic.tx_ipv4_checksum) {
                (true, true) => TxChecksum::Offload,
                (true, false) => TxChecksum::OffloadTcpOnly,
                (false, _) => TxChecksum::Software,
            },
            routes,
            neighbors: NeighborCache::new(
                config.max_neighbors,
                config.neighbor_reachable,
                derive_key(key, Purpose::Neighbors),
            ),
            wakeups: Wakeups::default(),
            listeners: Listeners::default(),
            ports: PortPicker::new(
                derive_key(key, Purpose::Ports),
                config.ephemeral_first,
                config.ephemeral_last,
                config.share.clone(),
                config.max_connections,
            ),
            isn: IsnGenerator::new(derive_key(key, Purpose::SequenceNumbers)),
            hasher: FlowHasher::new(derive_key(key, Purpose::Flows)),
            flows: FlowTable::new(config.max_connections)?,
            slots: Slots::new(config.max_connections, config.max_active)?,
            timers: TimerWheel::new(config.max_active.min(config.max_connections), Instant::ZERO),
            park_policy: ParkPolicy::new(config.park_after),
            pool_hand: 0,
            wishes: VecDeque::new(),
            clock: Instant::ZERO,
            ready: VecDeque::with_capacity(1024),
            events: VecDeque::with_capacity(1024),
            ended: VecDeque::new(),
            wait_ahead: None,
            sweep: Sweep::new(&config),
            control,
            syn_acks: SynAckQueue::new(),
            fast_open: FastOpen::new(
                config.fast_open,
                FastOpenKeys::new(
                    derive_key(config.fast_open_secret.unwrap_or(key), Purpose::FastOpen),
                    config.fast_open_keys.clone(),
                ),
            ),
            cookies: Cookies::new(config.syn_cookies, derive_key(key, Purpose::Cookies)),
            unshared: 0,
            reset_limit: ResetLimit::new(config.resets_per_second, derive_key(key, Purpose::Resets)),
            echo_limit: RateLimit::new(config.echo_replies_per_second),
            challenges: ChallengeTable::new(config.max_connections),
            orphans: 0,
            icmp_error_limit: RateLimit::new(config.icmp_errors_per_second),
            paths: Paths::new(derive_key(key, Purpose::Paths)),
            fragments: Reassembler::new(config.fragments, derive_key(key, Purpose::Fragments)),
            fragment_ids: FragmentIds::new(derive_key(key, Purpose::FragmentIds)),
            strays: Vec::new(),
            memory: Memory::new(&config),
            ip_ident: 0,
            counters: Counters::default(),
            overhearing: false,
            scratch: Scratch::default(),
            config,
        })
    }

    /// Wakes what is due at `now`. To be called once a turn.
    pub fn on_timeout(&mut self, now: Instant) {
        self.clock = now;
        while let Some(index) = self.timers.pop_expired(now) {
            let Some(active) = self.slots.pool.get_mut(index) else {
                continue;
            };
            // Timers are re-armed lazily: this one may have moved on since, and
            // is armed afresh when the connection's turn ends.
            if active.conn.next_timeout().is_some_and(|due| due <= now) {
                let before = active.conn.path_limit();
                active.conn.on_timeout(now);
                if active.conn.path_limit() != before {
                    self.remember_path(now, index);
                }
                self.touch(index);
            } else {
                self.rearm(index);
            }
        }
        self.expire_handshakes(now);
        self.expire_time_wait(now);
        self.sweep(now);
        self.expire_fragments(now);
        self.solicit_neighbors(now);
    }

    /// A time before which [`Self::on_timeout`] has nothing to do; `None` when
    /// only input can change anything.
    pub fn next_timeout(&self) -> Option<Instant> {
        let wishes = [
            self.timers.next_deadline(),
            self.neighbors.next_timeout(),
            self.next_handshake(),
            self.next_time_wait(),
            self.next_sweep(),
            self.fragments.next_timeout(),
        ];
        wishes.into_iter().flatten().min()
    }

    /// Whether there is something to send, or an event to fetch, right now.
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.events.is_empty()
            || !self.ended.is_empty()
            || !self.control.is_empty()
            || !self.syn_acks.is_empty()
            || !self.wishes.is_empty()
    }

    /// Counts frames that were thrown away on their way here.
    pub fn count_drops(&mut self, reason: DropReason, frames: u64) {
        self.counters.drops.count_many(reason, frames);
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connection slots in use, all states included.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// Connections that are active: the others are parked, or in a handshake
    /// that somebody else began.
    pub fn active_connections(&self) -> usize {
        self.slots.pool.len()
    }

    /// Bytes that a connection takes however idle it is, and those that it takes
    /// besides while it is active (what it buffers not counted).
    pub const fn connection_bytes() -> (usize, usize) {
        (size_of::<Record>(), Pool::place_size())
    }

    /// What a stack takes for its connections: all of it at once, or as
    /// connections come.
    pub fn memory(config: &StackConfig) -> StackMemory {
        let (record, place) = Self::connection_bytes();
        let active = config.max_active.min(config.max_connections);
        StackMemory {
            records: record as u64 * u64::from(config.max_connections),
            flow_table: FlowTable::bytes_for(config.max_connections) as u64,
            active: (place + TimerWheel::LINK_BYTES) as u64 * u64::from(active),
        }
    }

    /// Connections that still have something to settle with their peer: all but
    /// those in TIME-WAIT. Takes a walk over the active ones.
    pub fn unfinished(&self) -> usize {
        let over = |index: &usize| {
            let state = self.slots.pool.get(*index as u32).map(|a| a.conn.state());
            matches!(state, Some(State::TimeWait | State::Closed))
        };
        let over = (0..self.slots.pool.bound()).filter(over).count();
        self.slots.len() - self.slots.time_wait.len() as usize - over
    }

    /// Bytes of received data that connections hold, in order and out of order.
    pub fn received_held(&self) -> u64 {
        self.memory.received()
    }

    /// Bytes of written data that connections hold beyond what each may.
    pub fn written_beyond(&self) -> u64 {
        self.memory.written()
    }

    /// Tells the stack that packet buffers are scarce (see
    /// [`crore_nic::Nic::rx_pressure`]): until told otherwise, received data is copied,
    /// and no buffer grows.
    pub fn set_rx_pressure(&mut self, scarce: bool) {
        self.memory.set_packets_low(scarce);
    }

    /// This host's Ethernet address.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Puts what is at `index` of the pool on the ready and event lists, where
    /// the end of the burst finds whatever it has. What touches a connection may
    /// have made it drop received data, so it is counted anew.
    #[inline]
    pub(crate) fn touch(&mut self, index: u32) {
        let Some(active) = self.slots.pool.get_mut(index) else {
            return;
        };
        if active.charged > 0 {
            active.settle(&mut self.memory);
        }
        if active.charged_written > 0 {
            active.settle_written(&mut self.memory);
        }
        active.list(index, &mut self.ready, &mut self.events);
    }

    /// Puts it on the ready list alone.
    #[inline]
    pub(crate) fn mark_ready(&mut self, index: u32) {
        if let Some(active) = self.slots.pool.get_mut(index)
            && !core::mem::replace(&mut active.ready, true)
        {
            self.ready.push_back(index);
        }
    }

    /// Arms its timer when the connection wants to be woken earlier than the
    /// wheel would; a later wish waits until the wheel wakes it.
    #[inline]
    pub(crate) fn rearm(&mut self, index: u32) {
        let Some(active) = self.slots.pool.get(index) else {
            return;
        };
        let Some(due) = active.conn.next_timeout() else {
            return;
        };
        if self.timers.deadline(index).is_none_or(|armed| due < armed) {
            self.timers.arm(index, due);
        }
    }

    /// Deletes a connection: nothing of it is left afterwards.
    pub(crate) fn delete(&mut self, slot: u32) {
        if let Some(tuple) = self.slots.tuple(slot) {
            self.delete_hashed(slot, self.hasher.hash(&tuple));
        }
    }

    /// The same, where the hash of its tuple is known.
    pub(crate) fn delete_hashed(&mut self, slot: u32, hash: u32) {
        let Some(tuple) = self.slots.tuple(slot) else {
            return;
        };
        if let Some(index) = self.slots.active_index(slot) {
            self.timers.cancel(index);
        }
        let half = self.slots.record(slot).and_then(|record| record.half_open());
        let active = self.slots.remove(slot);
        let was_there = self.flows.remove(hash, slot);
        debug_assert!(was_there, "every slot in use is in the flow table");
        self.ports.release(&tuple);
        self.tcp.assign(slot, ProfileId::default());
        self.challenges.forget(self.clock, slot);
        let mut listener = half.map(|half| ListenerId(half.tag()));
        if let Some(active) = active {
            self.memory.forget(&active);
            self.counters.take_over(&active.conn.stats());
            self.orphans -= u32::from(active.orphan);
            if active.half_open {
                listener = active.listener;
            }
            if let (true, Some(listener)) = (active.fast_opening, active.listener) {
                self.listeners.leave_fast_open(self.clock, listener, true);
            }
        }
        if let Some(listener) = listener {
            self.listeners.handshake_ended(listener);
        }
        self.counters.closed += 1;
    }

    pub(crate) fn note_peak(&mut self) {
        self.counters.connections_peak = self.counters.connections_peak.max(self.slots.len() as u64);
    }
}

/// Bytes of memory; what connections buffer is not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StackMemory {
    /// A record for each connection.
    pub records: u64,
    /// The flow table.
    pub flow_table: u64,
    /// The pool of active connections and their timers.
    pub active: u64,
}

impl StackMemory {
    /// All of it.
    pub const fn total(&self) -> u64 {
        self.records + self.flow_table + self.active
    }
}

/// What a derived key is for.
#[derive(Clone, Copy)]
enum Purpose {
    SequenceNumbers = 1,
    Flows = 2,
    Ports = 3,
    Neighbors = 4,
    Cookies = 5,
    Fragments = 6,
    FragmentIds = 7,
    Paths = 8,
    FastOpen = 9,
    Resets = 10,
}

/// A key of its own for each purpose, so that what shows on the wire of one
/// tells nothing of another.
fn derive_key(key: [u8; 16], purpose: Purpose) -> [u8; 16] {
    use core::hash::Hasher;
    use siphasher::sip128::{Hasher128, SipHasher24};
    let mut hasher = SipHasher24::new_with_key(&key);
    hasher.write_u8(purpose as u8);
    hasher.finish128().as_bytes()
}
