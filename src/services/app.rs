//! What the program asks of an application beyond handling events.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crore_base::Instant;
use crore_shard::Service;
use crore_stack::{ListenError, ListenerId, Stack};

/// An application that the program can start, watch and stop.
pub trait App: Service {
    /// What it is called on the command line and in reports.
    const NAME: &'static str;
    /// The port that it is known under.
    const PORT: u16;

    /// Starts to listen on `port`, for the families given.
    fn listen(
        &mut self,
        stack: &mut Stack,
        families: Families,
        port: u16,
        backlog: u32,
    ) -> Result<(), ListenError>;

    /// What it has done so far.
    fn counters(&self) -> &AppCounters;

    /// How many connections it holds.
    fn open(&self) -> usize;

    /// Accepts nothing more, and ends each connection as soon as its peer has
    /// got what it asked for.
    fn drain(&mut self, stack: &mut Stack, now: Instant);

    /// Resets what is still open.
    fn abort_all(&mut self, stack: &mut Stack);
}

/// The IP versions that are listened on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// What an application counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AppCounters {
    /// Requests answered; for `echo` and `discard`, pieces of data taken.
    pub requests: u64,
    /// Bytes read from connections.
    pub bytes_in: u64,
    /// Bytes written to connections.
    pub bytes_out: u64,
    /// Requests refused (HTTP's 4xx and 5xx).
    pub refused: u64,
    /// Connections ended because nothing moved on them for too long.
    pub idle_closed: u64,
}

impl AppCounters {
    /// Adds what another shard has done.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            requests,
            bytes_in,
            bytes_out,
            refused,
            idle_closed,
        } = other;
        self.requests += requests;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        self.refused += refused;
        self.idle_closed += idle_closed;
    }
}

/// The listeners of an application: one for each family.
#[derive(Default, Debug)]
pub struct Listeners(Vec<ListenerId>);

impl Listeners {
    /// Listens on all addresses of `families`; on an error nothing is left.
    pub fn open(
        &mut self,
        stack: &mut Stack,
        families: Families,
        port: u16,
        backlog: u32,
    ) -> Result<(), ListenError> {
        let v4 = families
            .v4
            .then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        let v6 = families
            .v6
            .then(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
        for addr in [v4, v6].into_iter().flatten() {
            match stack.listen(addr, backlog) {
                Ok(id) => self.0.push(id),
                Err(error) => {
                    self.close(stack);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Listens no more.
    pub fn close(&mut self, stack: &mut Stack) {
        for id in self.0.drain(..) {
            stack.unlisten(id);
        }
    }
}
