//! What the two applications of a connection are to do.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crore_base::Duration;
use crore_nic::sim::End;

/// Connection `n` is opened from this port plus `n`.
const CLIENT_PORTS: u16 = 20_000;
/// Connection `n` is listened for on this port plus `n`.
const SERVER_PORTS: u16 = 8_000;

/// One connection: who opens it when, and what each end does with it.
#[derive(Clone, Debug)]
pub struct ConnPlan {
    /// Its number, from which its ports follow.
    pub index: usize,
    /// Whether it runs over IPv6.
    pub ipv6: bool,
    /// Who opens it.
    pub opener: Opener,
    /// When, after the start of the world.
    pub opens_after: Duration,
    /// What the left end does.
    pub left: EndPlan,
    /// What the right end does.
    pub right: EndPlan,
}

impl ConnPlan {
    /// What `end` does.
    pub fn end(&self, end: End) -> &EndPlan {
        match end {
            End::Left => &self.left,
            End::Right => &self.right,
        }
    }

    /// Whether `end` opens it actively.
    pub fn is_opened_by(&self, end: End) -> bool {
        match self.opener {
            Opener::One(opener) => opener == end,
            Opener::Both => true,
        }
    }

    /// The address and port at `end`.
    pub fn address(&self, end: End) -> SocketAddr {
        let base = match self.opener {
            Opener::One(opener) if opener == end => CLIENT_PORTS,
            Opener::Both if end == End::Left => CLIENT_PORTS,
            _ => SERVER_PORTS,
        };
        SocketAddr::new(host_address(end, self.ipv6), base + self.index as u16)
    }

    /// Whether both ends carry their transfers through, so that each must get
    /// all that the other sends, and a regular end.
    pub fn is_clean(&self) -> bool {
        [&self.left, &self.right]
            .iter()
            .all(|end| !end.finish.is_abortive())
    }

    /// Bytes that both ends are to send.
    pub fn bytes(&self) -> u64 {
        self.left.send + self.right.send
    }
}

/// The address of the host at `end`.
pub fn host_address(end: End, ipv6: bool) -> IpAddr {
    let host = match end {
        End::Left => 1,
        End::Right => 2,
    };
    if ipv6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host).into()
    } else {
        Ipv4Addr::new(10, 0, 0, host as u8).into()
    }
}

/// Who opens a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opener {
    /// One end; the other one listens.
    One(End),
    /// Both at once, towards each other (RFC 9293 section 3.5).
    Both,
}

/// What the application at one end does.
#[derive(Clone, Debug)]
pub struct EndPlan {
    /// Bytes to send.
    pub send: u64,
    /// The most that one write hands over.
    pub write_max: usize,
    /// Whether it hands over chunks instead of having them copied.
    pub zero_copy: bool,
    /// Whether it says nothing until the peer has finished.
    pub answers_last: bool,
    /// How it reads.
    pub reading: Reading,
    /// How it ends.
    pub finish: Finish,
    /// What it makes of Fast Open (RFC 7413), where its host has that.
    pub early: Early,
}

/// What an application makes of Fast Open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Early {
    /// It hands its first bytes over with the wish to connect.
    pub offers: bool,
    /// It sends them without a cookie, or takes the peer's so.
    pub without_cookie: bool,
}

impl EndPlan {
    /// Sends `send` bytes at once, reads all, ends regularly.
    pub fn plain(send: u64) -> Self {
        Self {
            send,
            write_max: 16 * 1024,
            zero_copy: false,
            answers_last: false,
            reading: Reading::default(),
            finish: Finish::Shutdown { awaits_end: true },
            early: Early::default(),
        }
    }
}

/// How an application reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// How long it does not look at all after the connection was opened.
    pub starts_after: Duration,
    /// How long it waits after each piece; zero reads whatever there is.
    pub every: Duration,
}

/// How an application ends a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// Shuts its write side when it has sent everything, reads to the end, and
    /// then gives the connection back, or waits to hear that it is over.
    Shutdown {
        /// Whether it waits.
        awaits_end: bool,
    },
    /// Closes when it has sent everything and received what it expects, without
    /// waiting for the peer's end.
    Close,
    /// Shuts its write side only so long after the peer's end: a peer that has
    /// given the connection back may have given up waiting (FIN-WAIT-2).
    Linger {
        /// How long.
        wait: Duration,
    },
    /// Resets the connection once it has received so many bytes (or the end).
    Abort {
        /// How many.
        after: u64,
    },
    /// Closes once it has received so many bytes, whatever is still to come:
    /// the peer may get a reset (RFC 2525 section 2.17).
    CloseEarly {
        /// How many.
        after: u64,
    },
}

impl Finish {
    /// Whether a direction may be cut off because of it.
    pub const fn is_abortive(self) -> bool {
        matches!(
            self,
            Self::Abort { .. } | Self::CloseEarly { .. } | Self::Linger { .. }
        )
    }
}
