//! The host itself: its parts, its construction, its clockwork.

use std::collections::VecDeque;
use std::rc::Rc;

use crore_base::{Instant, MacAddr};
use crore_nic::Capabilities;
use crore_tcp::IsnGenerator;
use crore_wire::TxChecksum;

use crate::control::ControlQueue;
use crate::flow_table::{FlowHasher, FlowTable};
use crate::input::Scratch;
use crate::listener::Listeners;
use crate::neighbor::{NeighborCache, Wakeups};
use crate::ports::PortPicker;
use crate::rate_limit::RateLimit;
use crate::route::Routes;
use crate::slots::Slots;
use crate::sweep::Sweep;
use crate::timer_wheel::TimerWheel;
use crate::{ConfigError, Counters, Event, StackConfig, State};

/// One TCP/IP host on one shard.
pub struct Stack {
    pub(crate) config: StackConfig,
    pub(crate) tcp: Rc<crore_tcp::Config>,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: u16,
    pub(crate) tx_checksum: TxChecksum,
    pub(crate) routes: Routes,
    pub(crate) neighbors: NeighborCache,
    pub(crate) wakeups: Wakeups,
    pub(crate) listeners: Listeners,
    pub(crate) ports: PortPicker,
    pub(crate) isn: IsnGenerator,
    pub(crate) hasher: FlowHasher,
    pub(crate) flows: FlowTable,
    pub(crate) slots: Slots,
    pub(crate) timers: TimerWheel,
    /// Slots that may have something to send, or a timer to arm, or to be
    /// deleted. Each at most once ([`crate::slots::Slot::ready`]).
    pub(crate) ready: VecDeque<u32>,
    /// Slots that may have something to tell the application. Each at most once.
    pub(crate) events: VecDeque<u32>,
    /// Ends to tell of connections whose slots are gone already: at most one for
    /// a received frame, and told before anything else.
    pub(crate) ended: VecDeque<Event>,
    pub(crate) sweep: Sweep,
    pub(crate) control: ControlQueue,
    pub(crate) reset_limit: RateLimit,
    pub(crate) echo_limit: RateLimit,
    /// Bytes of received data that connections hold.
    pub(crate) received_held: u64,
    /// Packet buffers are scarce: received data is copied out of them.
    pub(crate) copy_received: bool,
    pub(crate) ip_ident: u16,
    pub(crate) counters: Counters,
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
        control.announce(&routes, nic.mac);
        Ok(Self {
            tcp: Rc::new(config.tcp.clone()),
            mac: nic.mac,
            mtu: nic.mtu,
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
            ),
            isn: IsnGenerator::new(derive_key(key, Purpose::SequenceNumbers)),
            hasher: FlowHasher::new(derive_key(key, Purpose::Flows)),
            flows: FlowTable::new(config.max_connections),
            slots: Slots::new(config.max_connections),
            timers: TimerWheel::new(config.max_connections, Instant::ZERO),
            ready: VecDeque::with_capacity(1024),
            events: VecDeque::with_capacity(1024),
            ended: VecDeque::new(),
            sweep: Sweep::new(config.idle_timeout),
            control,
            reset_limit: RateLimit::new(config.resets_per_second),
            echo_limit: RateLimit::new(config.echo_replies_per_second),
            received_held: 0,
            copy_received: false,
            ip_ident: 0,
            counters: Counters::default(),
            scratch: Scratch::default(),
            config,
        })
    }

    /// Wakes what is due at `now`. To be called once a turn.
    pub fn on_timeout(&mut self, now: Instant) {
        while let Some(index) = self.timers.pop_expired(now) {
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            // Timers are re-armed lazily: this one may have moved on since, and
            // is armed afresh when the connection's turn ends.
            if slot.conn.next_timeout().is_some_and(|due| due <= now) {
                slot.conn.on_timeout(now);
                self.touch(index);
            } else {
                self.rearm(index);
            }
        }
        self.sweep(now);
        self.solicit_neighbors(now);
    }

    /// A time before which [`Self::on_timeout`] has nothing to do; `None` when
    /// only input can change anything.
    pub fn next_timeout(&self) -> Option<Instant> {
        let timers = self.timers.next_deadline();
        let neighbors = self.neighbors.next_timeout();
        let sweep = self.sweep.next().filter(|_| self.slots.len() > 0);
        [timers, neighbors, sweep].into_iter().flatten().min()
    }

    /// Whether there is something to send, or an event to fetch, right now.
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.events.is_empty()
            || !self.ended.is_empty()
            || !self.control.is_empty()
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connection slots in use, all states included.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// Connections that still have something to settle with their peer: all but
    /// those in TIME-WAIT. Takes a walk over all slots.
    pub fn unfinished(&self) -> usize {
        let open = |&index: &u32| {
            let state = self.slots.get(index).map(|slot| slot.conn.state());
            state.is_some_and(|state| !matches!(state, State::TimeWait | State::Closed))
        };
        self.slots.indices().filter(open).count()
    }

    /// Bytes of received data that connections hold, in order and out of order.
    pub fn received_held(&self) -> u64 {
        self.received_held
    }

    /// Tells the stack that packet buffers are scarce (see
    /// [`crore_nic::Nic::rx_pressure`]): until told otherwise, received data is copied.
    pub fn set_rx_pressure(&mut self, scarce: bool) {
        self.copy_received = scarce;
    }

    /// This host's Ethernet address.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Puts a slot on the ready and event lists, where the end of the burst
    /// finds whatever it has.
    #[inline]
    pub(crate) fn touch(&mut self, index: u32) {
        self.mark_ready(index);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if !slot.has_events {
            slot.has_events = true;
            self.events.push_back(index);
        }
    }

    /// Puts a slot on the ready list alone.
    #[inline]
    pub(crate) fn mark_ready(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if !slot.ready {
            slot.ready = true;
            self.ready.push_back(index);
        }
    }

    /// Arms the timer of a slot when the connection wants to be woken earlier
    /// than the wheel would; a later wish waits until the wheel wakes it.
    #[inline]
    pub(crate) fn rearm(&mut self, index: u32) {
        let Some(slot) = self.slots.get(index) else { return };
        let Some(due) = slot.conn.next_timeout() else {
            return;
        };
        if self.timers.deadline(index).is_none_or(|armed| due < armed) {
            self.timers.arm(index, due);
        }
    }

    /// Deletes a connection: nothing of it is left afterwards.
    pub(crate) fn delete(&mut self, index: u32) {
        self.timers.cancel(index);
        let Some(slot) = self.slots.remove(index) else {
            return;
        };
        let was_there = self.flows.remove(slot.hash, index);
        debug_assert!(was_there, "every slot in use is in the flow table");
        self.received_held -= u64::from(slot.charged);
        if slot.half_open
            && let Some(listener) = slot.listener
        {
            self.listeners.handshake_ended(listener);
        }
        self.counters.closed += 1;
        self.counters.retransmits += u64::from(slot.conn.stats().retransmits);
    }
}

/// What a derived key is for.
#[derive(Clone, Copy)]
enum Purpose {
    SequenceNumbers = 1,
    Flows = 2,
    Ports = 3,
    Neighbors = 4,
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
