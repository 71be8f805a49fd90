//! A connection as a script sees it against what is on the wire.
//!
//! A script counts from the initial sequence numbers that it writes itself, names
//! ports that need not be the real ones, and writes timestamps that the stack
//! could not know. Three numbers differ: the stack's own sequence numbers, by the
//! distance of its real initial number from the script's; its timestamps, by that
//! of the first one; its port, when it chose one. The peer's numbers are the
//! script's, since the script plays the peer.

use std::collections::BTreeMap;

use super::ast::{AckSpec, Cookie, Micros, TcpFlags, TcpOptionSpec, TcpSpec};
use super::packet::Segment;

/// One connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    /// The real ports: the stack's (unknown until its SYN is seen, if it chose
    /// it), and the peer's.
    pub(super) local_port: Option<u16>,
    pub(super) remote_port: u16,
    /// The ports that the script names, if it does.
    pub(super) named: Option<(u16, u16)>,
    /// The stack's initial number: the script's, and the real one.
    local_isn: Option<(u32, u32)>,
    /// The peer's initial number.
    remote_isn: Option<u32>,
    /// The peer began anew since the stack's SYN was seen.
    anew: bool,
    /// The first timestamp of the stack: the script's, the real one.
    first_stamp: Option<(u32, u32)>,
    /// What the stack gives to this peer when it asks for a Fast Open cookie.
    cookie: Vec<u8>,
    /// Timestamps of the stack, by what the script calls them.
    stamps: BTreeMap<u32, u32>,
}

impl Flow {
    /// A connection of which nothing was seen yet.
    pub(super) fn new(
        local_port: Option<u16>,
        remote_port: u16,
        named: Option<(u16, u16)>,
        cookie: Vec<u8>,
    ) -> Self {
        Self {
            cookie,
            local_port,
            remote_port,
            named,
            ..Self::default()
        }
    }

    /// From a script's sequence number to the stack's real one.
    pub(super) fn local_seq(&self, script: u32) -> u32 {
        match self.local_isn {
            Some((named, real)) => script.wrapping_sub(named).wrapping_add(real),
            None => script,
        }
    }

    fn script_seq(&self, real: u32) -> u32 {
        match self.local_isn {
            Some((named, first)) => real.wrapping_sub(first).wrapping_add(named),
            None => real,
        }
    }

    /// Where a byte of the stack stands in what its application wrote.
    pub(super) fn written_at(&self, real_seq: u32) -> Option<u32> {
        let (_, isn) = self.local_isn?;
        Some(real_seq.wrapping_sub(isn).wrapping_sub(1))
    }

    /// The segment that a script puts in, with the numbers of the wire.
    pub(super) fn inbound(&mut self, spec: &TcpSpec) -> Segment {
        let seq = spec.seq.unwrap_or_default();
        let is_syn = spec.flags.has(TcpFlags::SYN);
        if is_syn && self.remote_isn != Some(seq) {
            self.remote_isn = Some(seq);
        }
        self.anew |= is_syn && !spec.flags.has(TcpFlags::ACK);
        let first = self.remote_isn.unwrap_or_default().wrapping_add(1);
        let at = seq.wrapping_add(u32::from(is_syn)).wrapping_sub(first);
        let has_ack = spec.flags.has(TcpFlags::ACK);
        Segment {
            flags: spec.flags,
            seq,
            ack: match spec.ack {
                AckSpec::Exactly(ack) if has_ack => self.local_seq(ack),
                AckSpec::Exactly(ack) => ack,
                AckSpec::Absent | AckSpec::Any => 0,
            },
            win: spec.win.unwrap_or_default(),
            urg: spec.urg.unwrap_or_default(),
            options: spec
                .options
                .iter()
                .flatten()
                .map(|option| self.option_to_wire(option))
                .collect(),
            payload: pattern(at, spec.len as usize),
        }
    }

    fn option_to_wire(&self, option: &TcpOptionSpec) -> TcpOptionSpec {
        match option {
            TcpOptionSpec::Sack(blocks) => TcpOptionSpec::Sack(
                blocks
                    .iter()
                    .map(|&(left, right)| (self.local_seq(left), self.local_seq(right)))
                    .collect(),
            ),
            TcpOptionSpec::Timestamps(value, Some(echo)) => {
                TcpOptionSpec::Timestamps(*value, Some(self.stamp_to_wire(*echo)))
            }
            &TcpOptionSpec::FastOpen {
                experimental,
                cookie: Cookie::Own,
            } => TcpOptionSpec::FastOpen {
                experimental,
                cookie: Cookie::Bytes(self.cookie.clone()),
            },
            other => other.clone(),
        }
    }

    fn stamp_to_wire(&self, script: u32) -> u32 {
        match (self.stamps.get(&script), self.first_stamp) {
            (Some(&real), _) => real,
            (None, Some((named, real))) if script != 0 => script.wrapping_sub(named).wrapping_add(real),
            (None, _) => script,
        }
    }

    /// Learns from a segment of the stack that is being held against `spec`.
    pub(super) fn learn(&mut self, seen: &Segment, spec: &TcpSpec) {
        let named = spec.seq.unwrap_or_default();
        if seen.flags.has(TcpFlags::SYN) && spec.flags.has(TcpFlags::SYN) {
            match self.local_isn {
                Some((_, real)) if real == seen.seq || !self.anew => {}
                _ => {
                    self.local_isn = Some((named, seen.seq));
                    self.first_stamp = None;
                    self.stamps.clear();
                }
            }
            self.anew = false;
        }
        if let (Some(named), Some(real)) = (stamp_of(spec.options.as_deref()), stamp_of(Some(&seen.options)))
        {
            self.first_stamp.get_or_insert((named, real));
            self.stamps.insert(named, real);
        }
    }

    /// The stack's own cookie has a name where the script calls it by that.
    fn name_cookie(&self, shown: &mut TcpSpec, spec: &TcpSpec) {
        if !spec.options.iter().flatten().any(is_own_cookie) {
            return;
        }
        for option in shown.options.iter_mut().flatten() {
            if let TcpOptionSpec::FastOpen { cookie, .. } = option
                && matches!(cookie, Cookie::Bytes(bytes) if *bytes == self.cookie)
            {
                *cookie = Cookie::Own;
            }
        }
    }

    /// A segment of the stack as the script would write it. Its timestamp is the
    /// script's own where that can't be told from it (`tick` is the length of a
    /// timestamp's tick in microseconds, 0 if timestamps aren't checked).
    pub(super) fn outbound(
        &self,
        seen: &Segment,
        spec: &TcpSpec,
        tick: Micros,
        tolerance: Micros,
    ) -> TcpSpec {
        let mut shown = seen.spec();
        shown.seq = Some(self.script_seq(seen.seq));
        self.name_cookie(&mut shown, spec);
        let named = stamp_of(spec.options.as_deref());
        for option in shown.options.iter_mut().flatten() {
            if let (TcpOptionSpec::Timestamps(Some(value), _), Some((first_named, first_real))) =
                (option, self.first_stamp)
            {
                let real = value.wrapping_sub(first_real).wrapping_add(first_named);
                let off = named.map_or(0, |named| i64::from(real.wrapping_sub(named) as i32).abs());
                // A value may fall just before or just behind a tick.
                let good = tick == 0 || off * tick <= tolerance + tick;
                *value = match named {
                    Some(named) if good => named,
                    _ => real,
                };
            }
        }
        shown
    }
}

/// Whether an option is a cookie that stands as `TFO_COOKIE`.
fn is_own_cookie(option: &TcpOptionSpec) -> bool {
    matches!(
        option,
        TcpOptionSpec::FastOpen {
            cookie: Cookie::Own,
            ..
        }
    )
}

fn stamp_of(options: Option<&[TcpOptionSpec]>) -> Option<u32> {
    options?.iter().find_map(|option| match option {
        TcpOptionSpec::Timestamps(value, _) => *value,
        _ => None,
    })
}

/// What stands at one place in every stream: so that bytes that are lost, repeated
/// or exchanged are seen, wherever they come from.
pub(super) fn pattern(at: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| byte_at(at.wrapping_add(i))).collect()
}

fn byte_at(at: u32) -> u8 {
    // 251 is prime, so that nothing repeats at a distance that a stack would use.
    (at % 251) as u8
}
