//! Who waits for connections on which address and port.

use core::net::{IpAddr, SocketAddr};

use crore_base::Instant;

use crate::fast_open::FastOpenQueue;
use crate::profiles::ProfileId;
use crate::{ListenError, ListenerId};

pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    pub(crate) addr: SocketAddr,
    /// Connections in SYN-RECEIVED that it may have at once.
    pub(crate) backlog: u32,
    /// Connections in SYN-RECEIVED that it has.
    pub(crate) half_open: u32,
    /// What its connections have.
    profile: ProfileId,
    fast_open: FastOpenQueue,
}

/// What a newcomer finds at a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    pub(crate) id: ListenerId,
    /// What a connection is to have.
    pub(crate) profile: ProfileId,
    /// Whether data in a SYN may be taken.
    pub(crate) fast_open: bool,
    /// Whether it is taken without a cookie.
    pub(crate) trusts: bool,
    /// As many handshakes are under way as may be.
    pub(crate) is_full: bool,
}

/// All listeners of a stack. There are few, so a scan over those of one port is
/// short; a hash from the port keeps a SYN for another port from scanning all.
#[derive(Default)]
pub(crate) struct Listeners {
    list: Vec<Listener>,
    /// One bit a port: whether anybody listens on it at all.
    ports: PortSet,
    next_id: u32,
}

impl Listeners {
    pub(crate) fn add(
        &mut self,
        addr: SocketAddr,
        backlog: u32,
        profile: ProfileId,
        fast_open_max: u32,
    ) -> Result<ListenerId, ListenError> {
        if addr.port() == 0 {
            return Err(ListenError::NoPort);
        }
        if self.list.iter().any(|l| l.addr == addr) {
            return Err(ListenError::InUse);
        }
        let id = ListenerId(self.next_id);
        self.next_id += 1;
        self.list.push(Listener {
            id,
            addr,
            backlog: backlog.max(1),
            half_open: 0,
            profile,
            fast_open: FastOpenQueue::with_max(fast_open_max),
        });
        self.ports.set(addr.port(), true);
        Ok(id)
    }

    pub(crate) fn remove(&mut self, id: ListenerId) -> bool {
        let Some(at) = self.list.iter().position(|l| l.id == id) else {
            return false;
        };
        let port = self.list.remove(at).addr.port();
        let others = self.list.iter().any(|l| l.addr.port() == port);
        self.ports.set(port, others);
        true
    }

    //= rfc9293#section-3.9.1.1 (MUST)
    // A listener of one port neither disturbs those of others nor is used up by a
    // connection: any number of connections may come of it.
    /// The listener for a SYN to `addr` and `port`: the one on just this
    /// address before the one on all addresses of the family.
    pub(crate) fn find(&self, addr: IpAddr, port: u16) -> Option<Door> {
        if !self.ports.get(port) {
            return None;
        }
        let exact = self
            .list
            .iter()
            .position(|l| l.addr.port() == port && l.addr.ip() == addr);
        let wildcard = || {
            self.list.iter().position(|l| {
                l.addr.port() == port && l.addr.ip().is_unspecified() && l.addr.is_ipv4() == addr.is_ipv4()
            })
        };
        let listener = self.list.get(exact.or_else(wildcard)?)?;
        Some(Door {
            id: listener.id,
            profile: listener.profile,
            fast_open: listener.fast_open.max > 0,
            trusts: listener.fast_open.trusting,
            is_full: listener.half_open >= listener.backlog,
        })
    }

    pub(crate) fn profile(&self, id: ListenerId) -> Option<ProfileId> {
        self.list.iter().find(|l| l.id == id).map(|l| l.profile)
    }

    pub(crate) fn set_profile(&mut self, id: ListenerId, profile: ProfileId) {
        if let Some(listener) = self.list.iter_mut().find(|l| l.id == id) {
            listener.profile = profile;
        }
    }

    pub(crate) fn set_fast_open_max(&mut self, id: ListenerId, max: u32) -> bool {
        let listener = self.list.iter_mut().find(|l| l.id == id);
        listener.map(|l| l.fast_open.max = max).is_some()
    }

    pub(crate) fn set_fast_open_trusting(&mut self, id: ListenerId, trusting: bool) -> bool {
        let listener = self.list.iter_mut().find(|l| l.id == id);
        listener.map(|l| l.fast_open.trusting = trusting).is_some()
    }

    /// A handshake whose data is taken begins, if there may be one more.
    pub(crate) fn enter_fast_open(&mut self, now: Instant, id: ListenerId) -> bool {
        let listener = self.list.iter_mut().find(|l| l.id == id);
        listener.is_some_and(|l| l.fast_open.enter(now))
    }

    /// It is over.
    pub(crate) fn leave_fast_open(&mut self, now: Instant, id: ListenerId, failed: bool) {
        if let Some(listener) = self.list.iter_mut().find(|l| l.id == id) {
            listener.fast_open.leave(now, failed);
        }
    }

    pub(crate) fn handshake_began(&mut self, id: ListenerId) {
        if let Some(listener) = self.list.iter_mut().find(|l| l.id == id) {
            listener.half_open += 1;
        }
    }

    pub(crate) fn handshake_ended(&mut self, id: ListenerId) {
        if let Some(listener) = self.list.iter_mut().find(|l| l.id == id) {
            listener.half_open = listener.half_open.saturating_sub(1);
        }
    }

    pub(crate) fn uses_port(&self, port: u16) -> bool {
        self.ports.get(port)
    }
}

struct PortSet(Box<[u64; 1024]>);

impl PortSet {
    fn get(&self, port: u16) -> bool {
        self.0[port as usize / 64] >> (port % 64) & 1 != 0
    }

    fn set(&mut self, port: u16, to: bool) {
        let word = &mut self.0[port as usize / 64];
        *word = *word & !(1 << (port % 64)) | u64::from(to) << (port % 64);
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_address_wins_over_the_wildcard_and_families_stay_apart() {
        let mut listeners = Listeners::default();
        let any = listeners
            .add("0.0.0.0:80".parse().unwrap(), 8, ProfileId::default(), 0)
            .unwrap();
        let one = listeners
            .add("10.0.0.1:80".parse().unwrap(), 8, ProfileId::default(), 0)
            .unwrap();
        let find = |addr: &str, port| listeners.find(addr.parse().unwrap(), port).map(|l| l.id);
        assert_eq!(find("10.0.0.1", 80), Some(one), "exact");
        assert_eq!(find("10.0.0.2", 80), Some(any), "wildcard");
        assert_eq!(find("fd00::1", 80), None, "0.0.0.0 does not listen on IPv6");
        assert_eq!(find("10.0.0.1", 81), None, "another port");
        assert_eq!(
            listeners.add("0.0.0.0:80".parse().unwrap(), 8, ProfileId::default(), 0),
            Err(ListenError::InUse),
            "twice"
        );
        assert!(
            listeners.remove(any) && listeners.uses_port(80),
            "the other still uses the port"
        );
        assert!(listeners.remove(one) && !listeners.uses_port(80), "nobody does");
    }
}
