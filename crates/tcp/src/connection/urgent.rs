//! Urgent data: a mark in the stream, and nothing more.
//!
//! Read first: RFC 6093, RFC 9293 section 3.8.5.
//!
//! Always true: whatever the pointer says, each byte is delivered in line, in its
//! place, and once. A connection on which nobody uses it has nothing of it.

use crore_base::SeqNum;
use crore_wire::{Flags, Segment};

use super::app::WriteError;
use super::{Connection, Owed};
use crate::State;
use crate::event::PendingEvents;

/// The marks of one connection: numbers of the byte behind the urgent one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Urgent {
    /// SND.UP, which counts until it is acknowledged.
    snd: Option<SeqNum>,
    /// RCV.UP, which counts until it was read up to.
    rcv: Option<SeqNum>,
}

impl Connection {
    /// As [`Self::write`]; the last byte of `data` is urgent, if all of it was taken.
    ///
    //= rfc9293#section-3.8.5 (MUST)
    // There may be any number of urgent bytes before the mark: what is sent next
    // takes the place of an earlier mark.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_urgent(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let taken = self.write(data)?;
        if taken == data.len() && taken > 0 {
            let mark = self.snd.data_end();
            self.urgent.get_or_insert_default().snd = Some(mark);
            //= rfc9293#section-3.8.6.1 (SHOULD)
            // A shut window does not keep the peer from hearing of it.
            if self.snd.wnd == 0 && self.state.is_synchronized() {
                self.owed.add(Owed::ACK);
            }
        }
        Ok(taken)
    }

    /// How many unread bytes lie before the urgent one, as far as the peer has
    /// marked one that was not read yet; it may not have come yet itself. Zero: it is
    /// read next.
    pub fn urgent_mark(&self) -> Option<usize> {
        let mark = self.urgent.as_deref()?.rcv?;
        let at = self.first_unread();
        (!self.released && mark.after(at)).then(|| at.distance_to(mark - 1) as usize)
    }

    //= rfc6093#section-4 (MUST)
    // The pointer names the byte behind the urgent data.
    //= rfc9293#section-3.10.7.4 (MUST)
    // Sixth, the URG bit: RCV.UP moves on, never back, and the user is told if that
    // lies beyond what it has read.
    /// A segment with the URG flag, whose first number is `seq`.
    #[cold]
    pub(super) fn on_urgent(&mut self, seg: &Segment, seq: SeqNum) {
        if !self.state.can_receive() || self.released || seg.urgent == 0 {
            return;
        }
        let mark = seq + u32::from(seg.urgent);
        let known = self.urgent.as_deref().and_then(|urgent| urgent.rcv);
        let is_news = mark.after(self.first_unread()) && known.is_none_or(|known| mark.after(known));
        if is_news {
            self.urgent.get_or_insert_default().rcv = Some(mark);
            self.events.add(PendingEvents::URGENT);
        }
    }

    //= rfc9293#section-3.8.5 (MUST)
    // While something before the mark goes out, the segment says where it lies.
    /// The URG flag and the pointer of a segment that begins at `seq`.
    #[cold]
    pub(super) fn urgent_pointer(&self, seq: SeqNum) -> Option<(Flags, u16)> {
        let mark = self.urgent.as_deref()?.snd.filter(|mark| mark.after(seq))?;
        let ahead = seq.distance_to(mark).min(u32::from(u16::MAX));
        (self.state != State::Closed).then_some((Flags::URG, ahead as u16))
    }

    /// Whether something waits to be sent that is urgent.
    pub(super) fn sends_urgent(&self) -> bool {
        let mark = self.urgent.as_deref().and_then(|urgent| urgent.snd);
        mark.is_some_and(|mark| mark.after(self.snd.nxt))
    }

    /// Whether the peer has marked a byte that did not come yet.
    pub(super) fn awaits_urgent(&self) -> bool {
        self.urgent_mark().is_some()
    }

    /// The number of the first byte that was not read.
    fn first_unread(&self) -> SeqNum {
        // The peer's FIN takes a number, and is not read.
        let end = self.rcv.nxt - u32::from(self.rcv.fin_received);
        end - self.rcv.readable() as u32
    }
}
