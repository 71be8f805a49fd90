//! The application's verbs: write, read, shut down, close, abort.
//!
//! Read first: RFC 9293 section 3.9.1 and 3.10.2 to 3.10.6, section 3.6.1
//! (half-close, and closing with data unread).

use core::fmt;
use std::rc::Rc;

use crore_base::{Duration, Instant};
use crore_netbuf::Chunk;

use super::{Connection, Owed};
use crate::congestion::Congestion;
use crate::pacing::Pacing;
use crate::receive::ReceiveSpace;
use crate::{CloseReason, Config, State};

/// What reading brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// The next bytes, never empty.
    Data(Chunk),
    /// None now; [`crate::Event::Readable`] or [`crate::Event::PeerClosed`] follows.
    WouldBlock,
    /// None, and none will come: the peer has finished.
    Eof,
}

/// Why nothing can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// The application has closed, or the connection was cut off.
    Closed,
}

/// Why nothing can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// The application has shut down its end or closed, or the connection is over.
    Closed,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection can't be read any more")
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection can't be written any more")
    }
}

impl core::error::Error for ReadError {}
impl core::error::Error for WriteError {}

impl Connection {
    /// Queues what fits of `data` for sending, and says how much that was. When
    /// it was not all, [`crate::Event::Writable`] follows.
    ///
    /// # Errors
    /// [`WriteError::Closed`] after [`Self::shutdown_write`], [`Self::close`] or the end.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.check_writable()?;
        self.fit_send_buffer(data.len());
        self.note_app_limited();
        let taken = self.snd.write(data);
        self.arm_persist_if_stuck(self.last_activity());
        Ok(taken)
    }

    /// As [`Self::write`], without copying where `chunk` is not too small to be
    /// worth the memory that it pins.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_chunk(&mut self, chunk: Chunk) -> Result<usize, WriteError> {
        self.check_writable()?;
        self.fit_send_buffer(chunk.len());
        self.note_app_limited();
        let taken = self.snd.write_chunk(chunk);
        self.arm_persist_if_stuck(self.last_activity());
        Ok(taken)
    }

    /// How many bytes a write would take now.
    pub fn write_capacity(&self) -> usize {
        self.check_writable().map_or(0, |()| self.snd.room())
    }

    /// The next bytes in order. Reading opens the window, and may owe the peer
    /// word of that.
    ///
    /// # Errors
    /// [`ReadError::Closed`] after [`Self::close`], or when the connection was
    /// cut off.
    #[inline(always)]
    pub fn read(&mut self) -> Result<Read, ReadError> {
        self.read_by(ReceiveSpace::read)
    }

    /// As [`Self::read`], but not more than `most` bytes.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_up_to(&mut self, most: usize) -> Result<Read, ReadError> {
        self.read_by(|rcv| rcv.read_up_to(most))
    }

    /// Copies what could be read, from `skip` bytes on, without taking it; says
    /// how much that was.
    pub fn peek(&self, skip: usize, out: &mut [u8]) -> usize {
        if self.released {
            0
        } else {
            self.rcv.peek(skip, out)
        }
    }

    #[inline(always)]
    fn read_by(&mut self, read: impl FnOnce(&mut ReceiveSpace) -> Option<Chunk>) -> Result<Read, ReadError> {
        if self.released {
            return Err(ReadError::Closed);
        }
        if let Some(chunk) = read(&mut self.rcv) {
            if self.state.can_receive() && self.rcv.update_is_due(self.smss()) {
                self.owed.add(Owed::ACK);
            }
            return Ok(Read::Data(chunk));
        }
        if self.rcv.fin_received {
            Ok(Read::Eof)
        } else if self.state == State::Closed {
            Err(ReadError::Closed)
        } else {
            Ok(Read::WouldBlock)
        }
    }

    /// How many bytes can be read now.
    pub fn readable(&self) -> usize {
        if self.released { 0 } else { self.rcv.readable() }
    }

    /// The application has nothing more to write: FIN after what is queued. The
    /// peer may go on sending.
    pub fn shutdown_write(&mut self) {
        if self.snd.fin_queued {
            return;
        }
        //= rfc9293#section-3.10.4 (MUST)
        // Before the handshake is complete the FIN waits; in ESTABLISHED and
        // CLOSE-WAIT the state moves at once, the FIN when the data is out.
        self.state = match self.state {
            State::SynSent | State::SynReceived => self.state,
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            _ => return,
        };
        self.snd.fin_queued = true;
        self.arm_persist_if_stuck(self.last_activity());
    }

    /// The application gives its end up: what is queued is sent, then FIN;
    /// nobody reads any more. If something unread is thrown away by that, the
    /// peer learns of it by a reset.
    pub fn close(&mut self, now: Instant) {
        if self.released {
            return;
        }
        //= rfc9293#section-3.9.1 (MUST)
        // A close that may take no time is an ABORT.
        if self.config.linger == Some(Duration::ZERO) {
            self.abort();
            return;
        }
        self.released = true;
        let unread = self.rcv.readable() > 0 || self.rcv.has_early_data();
        self.rcv.clear();
        match self.state {
            State::Closed => {}
            State::SynSent => self.fail(CloseReason::Aborted),
            //= rfc9293#section-3.6.1 (SHOULD)
            // Closing with data unread resets the connection.
            State::Established | State::CloseWait | State::FinWait1 | State::FinWait2 if unread => {
                self.fail_with_reset(CloseReason::Aborted);
            }
            State::FinWait2 => self.arm_fin_wait_2(now),
            State::TimeWait => self.events.close(CloseReason::Finished),
            _ => self.shutdown_write(),
        }
        self.begin_linger(now);
    }

    /// Ends the connection at once; the peer learns of it by a reset.
    ///
    //= rfc9293#section-3.10.5 (MUST)
    // A reset is owed in the states where the peer may still wait for something.
    pub fn abort(&mut self) {
        self.released = true;
        match self.state {
            // What came before an orderly end may still wait for the reader.
            State::Closed => self.rcv.clear(),
            State::SynSent | State::Closing | State::LastAck | State::TimeWait => {
                self.fail(CloseReason::Aborted);
            }
            _ => self.fail_with_reset(CloseReason::Aborted),
        }
    }

    /// The application has chosen otherwise: from here on `config` counts. The
    /// caller looks at [`Self::next_timeout`] afterwards, and at what is to be
    /// sent. Nagle's algorithm is left as it is ([`Self::set_nodelay`]), and what
    /// the handshake has settled stays.
    pub fn configure(&mut self, config: Rc<Config>) {
        let old = core::mem::replace(&mut self.config, config);
        let new = &self.config;
        self.corked = new.cork;
        // What was not chosen anew may have grown, and stays.
        if new.send_limits() != old.send_limits() {
            self.snd.set_limit(new.send_buffer);
        }
        if new.receive_limits() != old.receive_limits() {
            self.rcv.set_limit(new.receive_limit());
        }
        if self.state == State::SynSent && self.snd.nxt == self.snd.iss {
            self.rcv.offered_scale = new.offered_scale();
        }
        if !self.state.is_synchronized() {
            return;
        }
        if new.congestion != old.congestion {
            // The other algorithm goes on from the same window.
            let segments = self.congestion.window() / self.smss();
            let threshold = self.congestion.threshold_segments();
            self.congestion = Congestion::new(new, self.smss());
            self.congestion.resume(Some(segments), threshold);
            self.pacing = Pacing::new(new.paces());
        }
        let mss = new.segment_limit(self.mss);
        if mss != self.mss {
            self.mss = mss;
            self.congestion.set_mss(self.smss());
        }
        self.wake_writer();
        self.arm_persist_if_stuck(self.last_activity());
    }

    /// Whether small segments are sent at once (true), or held while earlier
    /// data is unacknowledged (false: Nagle's algorithm).
    pub const fn set_nodelay(&mut self, nodelay: bool) {
        self.nodelay = nodelay;
    }

    /// Whether small segments are sent at once.
    pub const fn nodelay(&self) -> bool {
        self.nodelay
    }

    fn check_writable(&self) -> Result<(), WriteError> {
        let open = matches!(
            self.state,
            State::SynSent | State::SynReceived | State::Established | State::CloseWait
        );
        if open && !self.snd.fin_queued && !self.released {
            Ok(())
        } else {
            Err(WriteError::Closed)
        }
    }
}
