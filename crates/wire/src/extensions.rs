//! IPv6 extension headers, walked to the letter and within bounds.
//!
//! Read first: RFC 8200 section 4, RFC 5095 (routing header type 0), RFC 7112
//! (the first fragment holds the whole chain), RFC 6946 (atomic fragments).
//!
//! Always true: at most [`MAX_EXTENSION_HEADERS`] headers, of
//! [`MAX_EXTENSION_BYTES`] together, with [`MAX_OPTIONS`] options each, are
//! looked at; what goes beyond is nobody's honest traffic.
//!
//! Jumbograms (RFC 2675) are not spoken: no link here has an MTU above 65,535,
//! so that their option is one that is not known.

use crate::{HeaderProblem, be16, protocol};

/// How many IPv6 extension headers are walked before a packet is given up:
/// RFC 8200 section 4.1 orders at most one of each kind (destination options
/// twice), so more is nobody's honest traffic.
pub const MAX_EXTENSION_HEADERS: usize = 6;

/// How long the extension headers may be together, in bytes.
pub const MAX_EXTENSION_BYTES: usize = 1024;

/// How many options one header may hold, padding not counted (RFC 8504 section 5.3).
pub const MAX_OPTIONS: usize = 8;

const IPV6_HEADER: usize = 40;

/// Where a walk along the headers has come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Walked {
    /// At a header that is none of IPv6's own: `protocol` is what it is.
    Upper(Upper),
    /// At the header of a fragment that others belong to.
    Fragment {
        /// Where the fragment header starts in the packet.
        at: usize,
        /// Where the byte is that names it.
        named_at: usize,
    },
    /// The packet is to be discarded, and its sender told why.
    Problem(HeaderProblem),
    /// The packet is to be discarded in silence, as one of its options asks.
    Discard,
    /// The headers reach beyond the bytes that there are.
    CutOff,
    /// More, or longer, headers than anybody honest sends.
    TooMany,
}

/// The header behind the last extension header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Upper {
    pub(crate) protocol: u8,
    /// Where it starts in the packet.
    pub(crate) at: usize,
    /// Where the byte is that names it.
    pub(crate) named_at: usize,
}

/// Whether an IPv6 next header is an extension header that is looked into.
#[inline(always)]
pub(crate) const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT | protocol::DESTINATION_OPTIONS
    )
}

/// Walks the headers of the IPv6 `packet` from its first extension header on.
/// `to_group` says whether it was sent to a multicast address.
#[cold]
pub(crate) fn walk(packet: &[u8], to_group: bool) -> Walked {
    let Some(header) = packet.first_chunk::<IPV6_HEADER>() else {
        return Walked::CutOff;
    };
    let first = Upper {
        protocol: header[6],
        at: IPV6_HEADER,
        named_at: 6,
    };
    walk_from(packet, first, to_group)
}

/// The same from `upper` on, which may be an extension header.
pub(crate) fn walk_from(packet: &[u8], mut upper: Upper, to_group: bool) -> Walked {
    let begin = upper.at;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        if !is_extension(upper.protocol) {
            return Walked::Upper(upper);
        }
        //= rfc8200#section-4.1 (MUST)
        // The hop-by-hop options come right behind the IPv6 header or nowhere:
        // elsewhere their number is one that is not known.
        if upper.protocol == protocol::HOP_BY_HOP && upper.named_at != 6 {
            return Walked::Problem(HeaderProblem::unknown_next_header(upper.named_at));
        }
        let rest = packet.get(upper.at..).unwrap_or_default();
        let Some(head) = rest.first_chunk::<8>() else {
            return Walked::CutOff;
        };
        let len = match upper.protocol {
            protocol::FRAGMENT => 8,
            _ => (usize::from(head[1]) + 1) * 8,
        };
        let Some(body) = rest.get(2..len) else {
            return Walked::CutOff;
        };
        let stop = match upper.protocol {
            protocol::FRAGMENT => on_fragment_header(head, upper),
            protocol::ROUTING => on_routing_header(body, upper.at),
            _ => on_options(body, upper.at + 2, to_group),
        };
        if let Some(stop) = stop {
            return stop;
        }
        upper = Upper {
            protocol: head[0],
            at: upper.at + len,
            named_at: upper.at,
        };
        if upper.at - begin > MAX_EXTENSION_BYTES {
            return Walked::TooMany;
        }
    }
    Walked::TooMany
}

//= rfc6946#section-4 (MUST)
// A fragment that is the whole datagram is none: it waits for nothing, and
// nothing that waits is compared with it.
fn on_fragment_header(head: &[u8; 8], at: Upper) -> Option<Walked> {
    (be16(head, 2) & !6 != 0).then_some(Walked::Fragment {
        at: at.at,
        named_at: at.named_at,
    })
}

//= rfc8200#section-4.4 (MUST)
// A routing header of an unknown type is passed over when no segment is left,
// else it is a problem, and its type is pointed at. No type is known here.
//= rfc5095#section-3 (MUST)
// Type 0 is treated as such an unknown one.
fn on_routing_header(body: &[u8], at: usize) -> Option<Walked> {
    let segments_left = *body.get(1)?;
    (segments_left != 0).then_some(Walked::Problem(HeaderProblem::erroneous(at + 2)))
}

//= rfc8200#section-4.2 (MUST)
// The two highest bits of an option's type say what to do when it is not
// known: pass over it (00), discard the packet in silence (01), say so (10), or
// say so unless it was sent to a group (11).
fn on_options(body: &[u8], at: usize, to_group: bool) -> Option<Walked> {
    const PAD1: u8 = 0;
    const PADN: u8 = 1;
    let mut here = 0;
    let mut options = 0;
    while let Some(&kind) = body.get(here) {
        if kind == PAD1 {
            here += 1;
            continue;
        }
        let Some(&len) = body.get(here + 1) else {
            return Some(Walked::Problem(HeaderProblem::erroneous(at + here)));
        };
        let next = here + 2 + usize::from(len);
        if next > body.len() {
            return Some(Walked::Problem(HeaderProblem::erroneous(at + here + 1)));
        }
        if kind != PADN {
            let problem = HeaderProblem::unknown_option(at + here);
            match kind >> 6 {
                0 => {}
                1 => return Some(Walked::Discard),
                2 => return Some(Walked::Problem(problem)),
                _ if to_group => return Some(Walked::Discard),
                _ => return Some(Walked::Problem(problem)),
            }
            options += 1;
            if options > MAX_OPTIONS {
                return Some(Walked::TooMany);
            }
        }
        here = next;
    }
    None
}

//= rfc7112#section-5 (MUST)
// The first fragment holds all headers, the upper layer's included. Whether
// those from `upper` on, in `packet`, do.
pub(crate) fn holds_whole_chain(packet: &[u8], upper: Upper) -> bool {
    match walk_from(packet, upper, true) {
        Walked::Upper(Upper { protocol, at, .. }) => {
            let shortest = match protocol {
                protocol::TCP => 20,
                protocol::UDP => 8,
                protocol::ICMPV6 => 4,
                _ => 0,
            };
            at + shortest <= packet.len()
        }
        Walked::CutOff => false,
        // Whatever else is wrong is found when the datagram is whole.
        _ => true,
    }
}

#[cfg(test)]
mod tests;
