//! ICMP errors about what this host has sent: whom they are for, whether they
//! can be true, and what they mean.
//!
//! Read first: RFC 5927, RFC 1122 section 4.2.3.9, RFC 5461, RFC 1191, RFC 8201.
//!
//! Always true: an error costs no more than a segment does: one look-up, and a
//! few comparisons. What it makes a connection do, it does once: only a smaller
//! size than the last one makes it send something again. So there is no need of a
//! limit of their own.

use core::net::IpAddr;

use crore_base::{DropReason, Instant};
use crore_tcp::{Path, PathMtuVerdict, Unreachable};
use crore_wire::{Embedded, IcmpError, IcmpErrorKind};

use crate::Stack;
use crate::paths::{plateau_below, tcp_headers};

impl Stack {
    //= rfc5927#section-4.1 (SHOULD)
    // An ICMP error counts only when the sequence number that it quotes is in flight.
    //= rfc9293#section-3.9.2.2 (MUST)
    // It is for the connection that it quotes.
    pub(crate) fn on_icmp_error(&mut self, now: Instant, error: &IcmpError) -> Result<(), DropReason> {
        let IcmpError {
            kind,
            embedded: Some(Embedded { flow, seq, len }),
        } = error
        else {
            return Err(DropReason::UnhandledIcmp);
        };
        let dst = flow.remote_addr;
        let slot = self.find(flow).ok_or(DropReason::IcmpNotInFlight)?;
        if let Some(half) = self.slots.record(slot).and_then(|record| record.half_open()) {
            return self.on_icmp_about_syn_ack(slot, half.iss() == *seq, kind, dst.is_ipv4());
        }
        // What is parked has nothing in flight that an error could be about.
        let index = self.slots.active_index(slot).ok_or(DropReason::IcmpNotInFlight)?;
        let Some(active) = self.slots.pool.get_mut(index) else {
            return Ok(());
        };
        let (una, nxt) = (active.conn.snd_una(), active.conn.snd_nxt());
        if !(una.at_or_before(*seq) && seq.before(nxt)) {
            return Err(DropReason::IcmpNotInFlight);
        }
        match kind {
            IcmpErrorKind::PacketTooBig { mtu } => {
                let mtu = match u16::try_from(*mtu).unwrap_or(u16::MAX) {
                    0 if dst.is_ipv4() => plateau_below(*len),
                    named => named,
                };
                let mss = mtu.saturating_sub(tcp_headers(dst));
                match active.conn.on_path_mtu(now, *seq, mss) {
                    PathMtuVerdict::Taken => self.remember_path(now, index),
                    PathMtuVerdict::Held => {}
                    PathMtuVerdict::Ignored => return Err(DropReason::UnhandledIcmp),
                }
            }
            kind => {
                let v4 = dst.is_ipv4();
                active
                    .conn
                    .on_unreachable(now, what_is_unreachable(kind, v4), is_hard(kind, v4));
            }
        }
        self.touch(index);
        Ok(())
    }

    //= rfc9293#section-3.9.2.2 (SHOULD)
    // A hard error ends the connection: here, where it is not synchronised yet and
    // nobody has heard of it, that is the handshake alone, and the listener goes on.
    //= rfc5927#section-4.1 (SHOULD)
    // All that is in flight is the SYN-ACK: one number, to be guessed out of 2^32.
    /// An error about a handshake that is only remembered; whether it quotes our SYN-ACK.
    fn on_icmp_about_syn_ack(
        &mut self,
        slot: u32,
        is_quoted: bool,
        kind: &IcmpErrorKind,
        v4: bool,
    ) -> Result<(), DropReason> {
        if !is_quoted {
            return Err(DropReason::IcmpNotInFlight);
        }
        // What may pass is waited for as ever, and no path is too narrow for a SYN-ACK.
        if !is_hard(kind, v4) {
            return Err(DropReason::UnhandledIcmp);
        }
        self.delete(slot);
        Err(DropReason::HandshakeUnreachable)
    }

    /// What the connection at `index` has found out of its path, if it is less
    /// than the link bears, serves those to come.
    pub(crate) fn remember_path(&mut self, now: Instant, index: u32) {
        let Some(active) = self.slots.pool.get(index) else {
            return;
        };
        let dst = active.tuple.remote_addr;
        if let Some(mss) = active.conn.path_limit() {
            self.counters.path_mtu_learnt += 1;
            self.paths.learn(now, dst, mss.saturating_add(tcp_headers(dst)));
        }
    }

    /// The largest packet that goes to `dst`, as far as is known.
    pub(crate) fn mtu_to(&self, dst: IpAddr) -> u16 {
        let known = self.paths.mtu(self.clock, dst);
        known.map_or(self.mtu, |mtu| mtu.min(self.mtu))
    }

    /// What fits into one segment to `remote`: by this port's MTU, and by what is
    /// known of the path behind it.
    //= rfc9293#section-3.7.1 (MUST)
    // The MSS is the MTU less the fixed IP and TCP headers, options not counted (RFC 6691).
    //= rfc1191#section-3.1 (MUST)
    // What the peer is told stays that of the own link, whatever the path to it bears.
    pub(crate) fn path_to(&self, remote: IpAddr) -> Path {
        let path = if remote.is_ipv4() {
            Path::ipv4(self.mtu)
        } else {
            Path::ipv6(self.mtu)
        };
        match self.paths.mtu(self.clock, remote) {
            None => path,
            Some(mtu) => path.bearing(mtu),
        }
    }
}

/// What an error says can't be reached (RFC 792, RFC 1812 section 5.2.7.1, RFC
/// 4443 section 3.1). The rest is about the host, or the way to it.
fn what_is_unreachable(kind: &IcmpErrorKind, v4: bool) -> Unreachable {
    match kind {
        IcmpErrorKind::Unreachable { code } if v4 => match code {
            0 | 6 | 9 | 11 => Unreachable::Network,
            2 => Unreachable::Protocol,
            3 => Unreachable::Port,
            _ => Unreachable::Host,
        },
        IcmpErrorKind::Unreachable { code: 0 } => Unreachable::Network,
        IcmpErrorKind::Unreachable { code: 4 } => Unreachable::Port,
        _ => Unreachable::Host,
    }
}

//= rfc9293#section-3.9.2.2 (SHOULD)
// Whether an error means that trying again is pointless. In IPv4 these are an
// unreachable protocol or port, and what is unknown, isolated or prohibited; an
// unreachable network, host, failed source route or type of service may pass,
// as may what RFC 1122 section 4.2.3.9 wants borne: time exceeded, a parameter
// problem. In IPv6 (RFC 4443 section 3.1) they are what is prohibited by a
// policy, by the source address or by a route, and an unreachable port. The
// connection decides what follows (RFC 5461: before it is synchronised, the end).
//= rfc6633#section-3 (MUST)
// Source quench is no error at all: nothing here knows it.
fn is_hard(kind: &IcmpErrorKind, v4: bool) -> bool {
    match kind {
        IcmpErrorKind::Unreachable { code } if v4 => matches!(code, 2 | 3 | 6..=10 | 13..=15),
        IcmpErrorKind::Unreachable { code } => matches!(code, 1 | 4..=6),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_hard_or_soft_as_their_tables_say() {
        for code in 0..=20u8 {
            let kind = IcmpErrorKind::Unreachable { code };
            let hard_v4 = [2, 3, 6, 7, 8, 9, 10, 13, 14, 15].contains(&code);
            assert_eq!(is_hard(&kind, true), hard_v4, "IPv4, code {code}");
            let hard_v6 = [1, 4, 5, 6].contains(&code);
            assert_eq!(is_hard(&kind, false), hard_v6, "IPv6, code {code}");
            for soft in [
                IcmpErrorKind::TimeExceeded { code },
                IcmpErrorKind::ParameterProblem { code },
            ] {
                assert!(
                    !is_hard(&soft, true) && !is_hard(&soft, false),
                    "{soft:?} may pass"
                );
            }
        }
    }
}
