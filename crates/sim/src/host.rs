//! One of the two hosts of a world, whichever stack it runs.

use std::cell::RefCell;
use std::rc::Rc;

use crore_base::{DropCounters, Duration, Instant};
use crore_nic::fault::{FaultNic, FaultStats};
use crore_nic::sim::{End, SimNic};
use crore_nic::{Capabilities, Nic, RxFrame, TxMeta};
use crore_shard::Shard;
use crore_stack::{Stack, StackConfig};
use serde::Serialize;

use crate::app::App;
use crate::clock::ClockedNic;
use crate::referee::{Referee, WatchedNic};
use crate::scenario::Weather;
use crate::tasks::Tasks;

/// An end of the link, with faults around it or as it is.
pub enum LinkNic {
    /// As it is, with the offloads that the link offers.
    Plain(SimNic),
    /// With faults, and therefore without offloads.
    Faulty(Box<FaultNic<SimNic>>),
}

impl LinkNic {
    /// What the faults did, and how many frames they hold.
    pub fn faults(&self) -> (FaultStats, usize) {
        match self {
            Self::Plain(_) => (FaultStats::default(), 0),
            Self::Faulty(nic) => (nic.stats(), nic.held()),
        }
    }

    /// Changes what happens to frames, where anything can.
    pub fn set_weather(&mut self, weather: Weather) {
        if let Self::Faulty(nic) = self {
            nic.set_faults(weather.rx, weather.tx);
        }
    }

    fn as_nic(&self) -> &dyn Nic {
        match self {
            Self::Plain(nic) => nic,
            Self::Faulty(nic) => nic,
        }
    }

    fn as_nic_mut(&mut self) -> &mut dyn Nic {
        match self {
            Self::Plain(nic) => nic,
            Self::Faulty(nic) => nic,
        }
    }
}

impl Nic for LinkNic {
    fn capabilities(&self) -> &Capabilities {
        self.as_nic().capabilities()
    }

    fn rx_burst(&mut self, now: Instant, into: &mut Vec<RxFrame>) -> usize {
        self.as_nic_mut().rx_burst(now, into)
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.as_nic_mut().reserve(len)
    }

    fn extend(&mut self, len: usize) -> Option<&mut [u8]> {
        self.as_nic_mut().extend(len)
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        self.as_nic_mut().commit(len, meta);
    }

    fn flush(&mut self, now: Instant) -> usize {
        self.as_nic_mut().flush(now)
    }

    fn rx_pressure(&self) -> bool {
        self.as_nic().rx_pressure()
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.as_nic().next_arrival()
    }
}

/// What a world asks of a host. All times are the world's.
pub trait Host {
    /// One turn; says whether anything happened.
    fn turn(&mut self, now: Instant) -> Result<bool, String>;
    /// When the next turn is due if nothing is received until then.
    fn next_wakeup(&mut self, now: Instant) -> Option<Instant>;
    /// What happens to its frames changes.
    fn set_weather(&mut self, weather: Weather);
    /// The tasks at work here.
    fn tasks(&self) -> &Tasks;
    /// Connections that the stack still holds, in whatever state.
    fn connections(&self) -> usize;
    /// What the stack threw away; empty for a stack that doesn't count.
    fn drops(&self) -> DropCounters;
    /// How often idle connections were parked, and woken.
    fn parked(&self) -> (u64, u64);
    /// How many connections were opened by a SYN cookie.
    fn cookies(&self) -> u64;
    /// How many connections were opened by a SYN whose data was taken.
    fn fast_opens(&self) -> u64 {
        0
    }
    /// What marks of congestion brought about; nothing for a stack that doesn't count.
    fn marks(&self) -> Marks;
    /// What the faults did here, and how many frames they hold.
    fn faults(&self) -> (FaultStats, usize);
    /// Whether something is out that the peer has not acknowledged: then it must
    /// want to be woken.
    fn awaits_acknowledgment(&self) -> bool {
        false
    }
    /// Duplicates that were received where a DSACK could tell, and DSACKs sent.
    fn duplicates(&self) -> (u64, u64) {
        (0, 0)
    }
    /// Connections that ended by a reset, a refusal or a time-out, whether their
    /// application still heard of it or not.
    fn broken(&self) -> u64;
    /// What should be zero at the end and is not.
    fn leftovers(&self) -> Vec<String>;
}

/// What explicit congestion notification has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Marks {
    /// Ends of connections that agreed on it.
    pub agreed: u64,
    /// Marked data segments received.
    pub seen: u64,
    /// Acknowledgments received that told of marks.
    pub told: u64,
    /// Segments sent again, for whatever reason.
    pub retransmits: u64,
}

impl Marks {
    pub(crate) fn add(&mut self, other: Self) {
        self.agreed += other.agreed;
        self.seen += other.seen;
        self.told += other.told;
        self.retransmits += other.retransmits;
    }
}

/// A host that runs Crore.
pub struct CroreHost {
    shard: Shard<ClockedNic<WatchedNic>, App>,
    referee: Rc<RefCell<Referee>>,
    ahead: Duration,
}

impl CroreHost {
    /// A host at `end` whose clock is `ahead` of the world's.
    pub fn new(
        end: End,
        nic: LinkNic,
        config: StackConfig,
        key: [u8; 16],
        ahead: Duration,
        tasks: Tasks,
        referee: Referee,
    ) -> Result<Self, String> {
        let referee = Rc::new(RefCell::new(referee));
        let nic = ClockedNic::new(WatchedNic::new(nic, Rc::clone(&referee)), ahead);
        let mut stack = Stack::new(config, nic.capabilities(), key).map_err(|error| error.to_string())?;
        let app = App::new(end, tasks, &mut stack)?;
        Ok(Self {
            shard: Shard::new(nic, stack, app),
            referee,
            ahead,
        })
    }
}

impl Host for CroreHost {
    fn turn(&mut self, now: Instant) -> Result<bool, String> {
        let turn = self.shard.turn(now + self.ahead);
        let progress = self.shard.service_mut().take_progress() || !turn.is_idle();
        if let Some(what) = self.shard.service().failure() {
            return Err(what.to_owned());
        }
        match self.referee.borrow().foul() {
            Some(what) => Err(what.to_owned()),
            None => Ok(progress),
        }
    }

    fn next_wakeup(&mut self, now: Instant) -> Option<Instant> {
        let wakeup = self.shard.next_wakeup(now + self.ahead)?;
        Some(wakeup - self.ahead)
    }

    fn set_weather(&mut self, weather: Weather) {
        self.shard.nic_mut().inner_mut().inner_mut().set_weather(weather);
    }

    fn tasks(&self) -> &Tasks {
        self.shard.service().tasks()
    }

    fn connections(&self) -> usize {
        self.shard.stack().connections()
    }

    fn drops(&self) -> DropCounters {
        self.shard.stack().counters().drops.clone()
    }

    fn parked(&self) -> (u64, u64) {
        let counters = self.shard.stack().counters();
        (counters.parked, counters.woken)
    }

    fn cookies(&self) -> u64 {
        self.shard.stack().counters().cookies_accepted
    }

    fn fast_opens(&self) -> u64 {
        self.shard.stack().counters().fast_opens_in
    }

    fn marks(&self) -> Marks {
        let counters = self.shard.stack().counters();
        Marks {
            agreed: counters.ecn_agreed,
            seen: counters.ce_in,
            told: counters.ece_in,
            retransmits: counters.retransmits,
        }
    }

    fn faults(&self) -> (FaultStats, usize) {
        self.shard.nic().inner().inner().faults()
    }

    fn awaits_acknowledgment(&self) -> bool {
        self.referee.borrow().awaits_acknowledgment(self.tasks())
    }

    fn duplicates(&self) -> (u64, u64) {
        self.referee.borrow().duplicates()
    }

    fn broken(&self) -> u64 {
        self.shard.stack().counters().broken
    }

    fn leftovers(&self) -> Vec<String> {
        let stack = self.shard.stack();
        let mut left = Vec::new();
        if stack.connections() != 0 {
            left.push(format!("{} connections", stack.connections()));
        }
        if stack.received_held() != 0 {
            left.push(format!("{} received bytes charged", stack.received_held()));
        }
        if stack.written_beyond() != 0 {
            left.push(format!("{} written bytes charged", stack.written_beyond()));
        }
        left
    }
}
