//! The other shards of a program, as one of them sees them.
//!
//! Every flow belongs to one shard, and all agree on which ([`Steering`]). A NIC
//! that divides flows in the same way brings each frame to the right one; what
//! another division, or none, brings here is handed on. Frames from which every
//! shard learns (who has which Ethernet address) are copied to all.
//!
//! Always true: bytes travel, packet buffers do not, since those belong to one
//! core; the mailboxes are bounded, those for flows and those for news apart, so
//! that a flood of one does not starve the other; what finds one full is counted.

use std::sync::Arc;

use crore_base::RxChecksum;
use crore_netbuf::Chunk;
use crore_nic::RxFrame;
use crore_wire::{Steering, Whose};

use crate::{Mailbox, mailbox};

/// Frames that a shard leaves for another before that takes them: several turns'
/// worth, as a ring of a NIC.
const FLOWS: usize = 1024;
/// News that a shard leaves for another.
const NEWS: usize = 128;
/// Frames taken out of each mailbox in one turn.
const TAKE: usize = 64;

/// A frame on its way to another shard.
#[derive(Debug)]
struct Parcel {
    bytes: Box<[u8]>,
    checksum: RxChecksum,
}

impl Parcel {
    fn of(frame: &RxFrame) -> Self {
        Self {
            bytes: frame.data.as_ref().into(),
            checksum: frame.checksum,
        }
    }

    fn open(self) -> RxFrame {
        RxFrame {
            data: Chunk::copy_from(&self.bytes),
            checksum: self.checksum,
        }
    }
}

/// What went between this shard and the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerCounters {
    /// Frames that came here and were another shard's.
    pub handed_on: u64,
    /// Frames of this shard's that came to another.
    pub rescued: u64,
    /// Frames and news that found another shard's mailbox full.
    pub mailbox_full: u64,
    /// News that another shard has passed on.
    pub news: u64,
}

impl PeerCounters {
    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            handed_on,
            rescued,
            mailbox_full,
            news,
        } = other;
        self.handed_on += handed_on;
        self.rescued += rescued;
        self.mailbox_full += mailbox_full;
        self.news += news;
    }
}

#[derive(Clone, Debug)]
struct Inbox {
    flows: Mailbox<Parcel>,
    news: Mailbox<Parcel>,
}

/// A shard's place among the shards of its program. `Send`: it travels to its core.
#[derive(Debug)]
pub struct Peers {
    steering: Arc<Steering>,
    shard: u16,
    /// By shard, this one's included.
    inboxes: Vec<Inbox>,
    counters: PeerCounters,
    /// Lost on the way here; told to the stack, which counts all drops.
    untold_losses: u64,
}

impl Peers {
    /// The places of all shards among which `steering` divides the flows.
    pub fn of(steering: &Arc<Steering>) -> Vec<Self> {
        let inbox = |_| Inbox {
            flows: mailbox(FLOWS).0,
            news: mailbox(NEWS).0,
        };
        let inboxes: Vec<_> = (0..steering.shards()).map(inbox).collect();
        let place = |shard| Self {
            steering: steering.clone(),
            shard,
            inboxes: inboxes.clone(),
            counters: PeerCounters::default(),
            untold_losses: 0,
        };
        (0..steering.shards()).map(place).collect()
    }

    /// What went to and fro.
    pub fn counters(&self) -> PeerCounters {
        self.counters
    }

    /// Hands on what a burst has brought for others; the rest stays, in order.
    pub(crate) fn hand_on(&mut self, frames: &mut Vec<RxFrame>) {
        frames.retain(|frame| match self.steering.whose(&frame.data) {
            Whose::Shard(shard) if shard == self.shard => true,
            Whose::Shard(shard) => {
                self.counters.handed_on += 1;
                let sent = self.inboxes[usize::from(shard)].flows.send(Parcel::of(frame));
                self.count_loss(sent.is_ok());
                false
            }
            Whose::Everybody => {
                self.tell_all(frame);
                true
            }
            Whose::Finder => true,
        });
    }

    #[cold]
    fn tell_all(&mut self, frame: &RxFrame) {
        let here = usize::from(self.shard);
        for shard in (0..self.inboxes.len()).filter(|&shard| shard != here) {
            let sent = self.inboxes[shard].news.send(Parcel::of(frame));
            self.count_loss(sent.is_ok());
        }
    }

    fn count_loss(&mut self, sent: bool) {
        self.counters.mailbox_full += u64::from(!sent);
        self.untold_losses += u64::from(!sent);
    }

    /// Takes out what others have found of this shard's.
    pub(crate) fn rescue(&mut self, into: &mut Vec<RxFrame>) -> usize {
        let taken = take(&self.inboxes[usize::from(self.shard)].flows, into);
        self.counters.rescued += taken as u64;
        taken
    }

    /// Takes out the news.
    pub(crate) fn news(&mut self, into: &mut Vec<RxFrame>) -> usize {
        let taken = take(&self.inboxes[usize::from(self.shard)].news, into);
        self.counters.news += taken as u64;
        taken
    }

    /// Frames that were lost on their way to another shard since this was last asked.
    pub(crate) fn take_losses(&mut self) -> u64 {
        core::mem::take(&mut self.untold_losses)
    }

    /// Whether something waits here for this shard.
    pub(crate) fn has_mail(&self) -> bool {
        let Inbox { flows, news } = &self.inboxes[usize::from(self.shard)];
        !(flows.is_empty() && news.is_empty())
    }
}

fn take(mailbox: &Mailbox<Parcel>, into: &mut Vec<RxFrame>) -> usize {
    let parcels = core::iter::from_fn(|| mailbox.receive()).take(TAKE);
    let before = into.len();
    into.extend(parcels.map(Parcel::open));
    into.len() - before
}
