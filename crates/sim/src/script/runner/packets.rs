//! Packets of a script: put in, and waited for.

use crore_base::Instant;

use super::super::ast::{Body, Direction, Event, IcmpSpec, Micros, PacketSpec, TcpFlags, TcpSpec, When};
use super::super::compare::{differences, ip_differences, shown_ip};
use super::super::flow::{Flow, pattern};
use super::super::icmp;
use super::super::notation::Seconds;
use super::super::packet::{self, Carried, Path, Seen, Segment};
use super::super::report::Failure;
use super::super::settings::Family;
use super::{Runner, Step, Stop, instant, unfit};
use crate::posix::Packet;

/// For how long a packet is waited for that may come at any time: longer than the
/// longest silence of TCP, two hours before keepalive asks.
const FOR_EVER: Micros = 3 * 3_600_000_000;

impl Runner<'_> {
    /// A packet comes in.
    pub(super) fn put_in(&mut self, event: &Event, spec: &PacketSpec) -> Step {
        let bytes = match &spec.body {
            Body::Tcp(tcp) => {
                let at = self.flow_for_input(spec);
                let path = self.path(at);
                if tcp.flags.has(TcpFlags::URG) {
                    self.reads_pattern = false;
                }
                self.flows[at].inbound(tcp).packet(&path, &spec.ip)
            }
            Body::Icmp(message) => self.icmp(event, spec, message)?,
            Body::Foreign(name) => return Err(unfit(event, &format!("{name} is not TCP's business"))),
        };
        self.packets += 1;
        self.note(self.now(), spec);
        self.host.input(&bytes);
        Ok(())
    }

    /// From the peer of a connection to the stack.
    fn path(&self, flow: usize) -> Path {
        let flow = &self.flows[flow];
        Path {
            from: (self.settings.remote, flow.remote_port),
            to: (self.settings.local, flow.local_port.unwrap_or(self.bound_port)),
        }
    }

    fn flow_for_input(&mut self, spec: &PacketSpec) -> usize {
        let at = match spec.ports {
            Some((remote, local)) => match self.flow_named(local, remote) {
                Some(at) => at,
                None => self.new_flow(Some(local), remote, Some((local, remote))),
            },
            None => match self.current {
                Some(at) => at,
                None => {
                    let remote = self.next_port;
                    self.next_port += 1;
                    self.new_flow(Some(self.bound_port), remote, None)
                }
            },
        };
        self.current = Some(at);
        at
    }

    /// The connection that a script calls by these ports; one that it has not named
    /// yet and that has them is named so.
    fn flow_named(&mut self, local: u16, remote: u16) -> Option<usize> {
        let named = |flow: &Flow| flow.named == Some((local, remote));
        let real = |flow: &Flow| {
            flow.named.is_none() && flow.local_port == Some(local) && flow.remote_port == remote
        };
        let found = self.flows.iter().rposition(named);
        let found = found.or_else(|| self.flows.iter().rposition(real))?;
        self.flows[found].named = Some((local, remote));
        Some(found)
    }

    pub(super) fn new_flow(&mut self, local: Option<u16>, remote: u16, named: Option<(u16, u16)>) -> usize {
        let cookie = self.host.fast_open_cookie(self.settings.remote);
        self.flows.push(Flow::new(local, remote, named, cookie));
        self.flows.len() - 1
    }

    fn icmp(&mut self, event: &Event, spec: &PacketSpec, message: &IcmpSpec) -> Step<Vec<u8>> {
        let is_ipv6 = self.settings.family == Family::V6;
        let (kind, rest) = icmp::header(message, is_ipv6).map_err(|reason| unfit(event, &reason))?;
        let at = self.flow_for_input(spec);
        let flow = &self.flows[at];
        let (seq, len) = message.echoed.unwrap_or_default();
        let back = self.path(at);
        let path = Path {
            from: back.to,
            to: back.from,
        };
        let original = Segment {
            flags: TcpFlags::ACK,
            seq: flow.local_seq(seq),
            ack: 0,
            win: 0,
            urg: 0,
            options: Vec::new(),
            payload: vec![0; len as usize],
        };
        let mut original = original.packet(&path, &Default::default());
        // The header of the original and no payload, as packetdrill has it.
        original.truncate(if is_ipv6 { 60 } else { 40 });
        let from = match self.settings.gateway {
            gateway if gateway.is_ipv4() != is_ipv6 => gateway,
            _ => self.settings.remote,
        };
        Ok(packet::icmp_packet(
            from,
            self.settings.local,
            kind,
            rest,
            &original,
        ))
    }

    /// A packet must come out.
    pub(super) fn expect(&mut self, event: &Event, spec: &PacketSpec) -> Step {
        let expected = match &spec.body {
            Body::Tcp(tcp) => tcp,
            Body::Icmp(_) => return Err(unfit(event, "ICMP out of the stack is not TCP's business")),
            Body::Foreign(name) => return Err(unfit(event, &format!("{name} is not TCP's business"))),
        };
        let before = self.before;
        let (first, last, exact) = match event.when {
            When::Absolute(at) => (at, at, Some(at)),
            When::Relative(after) => (before + after, before + after, Some(before + after)),
            When::AbsoluteRange(from, to) => (from, to, None),
            When::RelativeRange(from, to) => (before + from, before + to, None),
            When::Any => (Micros::MIN, self.now() + FOR_EVER, None),
        };
        let tolerance = self.settings.tolerance;
        let Some(packet) = self.output_by(last.saturating_add(tolerance)) else {
            return Err(self.missing(event, spec, last));
        };
        let at = micros(packet.at);
        self.before = exact.unwrap_or(at);
        self.match_packet(event, spec, expected, &packet)?;
        let (earliest, latest) = (first.saturating_sub(tolerance), last.saturating_add(tolerance));
        if at < earliest || at > latest {
            let when = match exact {
                Some(at) => Seconds(at).to_string(),
                None => format!("{} to {}", Seconds(first), Seconds(last)),
            };
            return Err(self.fail(event, format!("expected at {when}, seen at {}", Seconds(at))));
        }
        Ok(())
    }

    /// The next packet of the stack, if one comes by then.
    fn output_by(&mut self, limit: Micros) -> Option<Packet> {
        let packet = match self.put_back.take() {
            Some(packet) => packet,
            None => loop {
                if let Some(packet) = self.host.output() {
                    break packet;
                }
                if !self.host.advance_to_next(instant(limit)) {
                    break self.host.output()?;
                }
            },
        };
        self.packets += 1;
        Some(packet)
    }

    fn match_packet(
        &mut self,
        event: &Event,
        spec: &PacketSpec,
        expected: &TcpSpec,
        packet: &Packet,
    ) -> Step {
        let seen = self.read(event, spec, packet)?;
        let Carried::Tcp { ports, segment } = &seen.carried else {
            return Err(self.unlike(event, spec, describe(&seen), &["protocol"]));
        };
        let theirs = (seen.to, seen.from) == (self.settings.remote, self.settings.local);
        let flow = self.flow_of(*ports).filter(|_| theirs);
        let wanted = match spec.ports {
            Some((local, remote)) => self.flow_named(local, remote).or_else(|| {
                // A port that the stack chose has the script's name from here on.
                let unnamed = flow.filter(|&at| self.flows[at].named.is_none())?;
                self.flows[unnamed].named = Some((local, remote));
                Some(unnamed)
            }),
            None => self.current,
        };
        let Some(at) = flow.filter(|_| flow == wanted) else {
            let (from, to) = ports;
            let shown = format!(
                "> {from} > {to} {} (of {} to {})",
                segment.spec(),
                seen.from,
                seen.to
            );
            return Err(self.unlike(event, spec, shown, &["connection"]));
        };
        self.flows[at].learn(segment, expected);
        let segment = self.whole_segment(at, expected, segment.clone());
        let (tick, tolerance) = (self.settings.tick, self.settings.tolerance);
        let shown = self.flows[at].outbound(&segment, expected, tick, tolerance);
        let mut differ = differences(expected, &shown);
        differ.extend(ip_differences(&spec.ip, &seen.ip));
        if !self.payload_is_right(at, &segment) {
            differ.push("payload");
        }
        let shown = PacketSpec {
            direction: Direction::Outbound,
            ip: shown_ip(&spec.ip, &seen.ip),
            ports: spec.ports,
            body: Body::Tcp(shown),
        };
        self.note(micros(packet.at), &shown);
        if differ.is_empty() {
            return Ok(());
        }
        Err(self.unlike(event, spec, shown.to_string(), &differ))
    }

    fn read(&self, event: &Event, spec: &PacketSpec, packet: &Packet) -> Step<Seen> {
        packet::read(&packet.bytes).map_err(|wrong| {
            let shown = format!("a packet of {} bytes: {wrong}", packet.bytes.len());
            self.unlike(event, spec, shown, &["form"])
        })
    }

    fn flow_of(&self, ports: (u16, u16)) -> Option<usize> {
        let same = |flow: &Flow| flow.remote_port == ports.1 && flow.local_port == Some(ports.0);
        // The connection that is meant comes first, then the latest.
        let current = self.current.filter(|&at| same(&self.flows[at]));
        current.or_else(|| self.flows.iter().rposition(same))
    }

    /// A kernel's scripts expect what it hands to its link at once, which may be
    /// many segments: here what follows without a gap, at the same time and with the
    /// same header, is put together with it.
    fn whole_segment(&mut self, flow: usize, expected: &TcpSpec, first: Segment) -> Segment {
        let mut whole = first;
        let mut pieces = 1;
        while (whole.payload.len() as u32) < expected.len && !whole.payload.is_empty() {
            let Some(packet) = self.host.output() else { break };
            let next = match packet::read(&packet.bytes) {
                Ok(Seen {
                    carried: Carried::Tcp { ports, segment },
                    ..
                }) if self.flow_of(ports) == Some(flow) => segment,
                _ => {
                    self.put_back = Some(packet);
                    break;
                }
            };
            let end = whole.seq.wrapping_add(whole.payload.len() as u32);
            let fits = whole.payload.len() + next.payload.len() <= expected.len as usize;
            if next.seq != end || next.ack != whole.ack || next.payload.is_empty() || !fits {
                self.put_back = Some(packet);
                break;
            }
            self.packets += 1;
            whole.flags = whole.flags.with(next.flags);
            whole.payload.extend(next.payload);
            pieces += 1;
        }
        // Which piece would be pushed is a matter of taste.
        if pieces > 1 && expected.flags.with(TcpFlags::PSH) == whole.flags.with(TcpFlags::PSH) {
            whole.flags = expected.flags;
        }
        whole
    }

    /// Whether the bytes are those that the application wrote at their places.
    fn payload_is_right(&self, flow: usize, segment: &Segment) -> bool {
        if !self.writes_pattern || segment.payload.is_empty() {
            return true;
        }
        let first = segment
            .seq
            .wrapping_add(u32::from(segment.flags.has(TcpFlags::SYN)));
        match self.flows[flow].written_at(first) {
            // A probe may repeat the byte before the first.
            Some(u32::MAX) | None => true,
            Some(at) => segment.payload == pattern(at, segment.payload.len()),
        }
    }

    /// Nothing may have been sent that no line of the script expects.
    pub(super) fn nothing_left(&mut self, last: Option<&Event>) -> Step {
        let packet = match self.put_back.take().or_else(|| self.host.output()) {
            Some(packet) => packet,
            None => return Ok(()),
        };
        let Some(event) = last else { return Ok(()) };
        let shown = packet::read(&packet.bytes).map_or_else(str::to_owned, |seen| self.show(&seen));
        let mut stop = self.fail(event, "a packet was sent that no line expects");
        if let Stop::Fail(failure) = &mut stop {
            failure.seen = Some(format!("{} {shown}", Seconds(micros(packet.at))));
        }
        Err(stop)
    }

    fn show(&self, seen: &Seen) -> String {
        match &seen.carried {
            Carried::Tcp { ports, segment } => {
                let spec = match self.flow_of(*ports) {
                    Some(at) => self.flows[at].outbound(segment, &segment.spec(), 0, 0),
                    None => segment.spec(),
                };
                format!("> {spec}")
            }
            _ => describe(seen),
        }
    }

    fn missing(&self, event: &Event, spec: &PacketSpec, by: Micros) -> Stop {
        let mut stop = self.fail(event, "no packet was sent");
        if let Stop::Fail(failure) = &mut stop {
            failure.expected = Some(format!("{} {spec}", event.when));
            failure.seen = Some(format!("nothing by {}", Seconds(by)));
        }
        stop
    }

    fn unlike(&self, event: &Event, spec: &PacketSpec, shown: String, differ: &[&str]) -> Stop {
        Stop::Fail(Box::new(Failure {
            line: event.line,
            what: format!(
                "another packet was sent: {} differ{}",
                differ.join(", "),
                plural(differ)
            ),
            event: event.to_string(),
            expected: Some(format!("{spec}")),
            seen: Some(shown),
            at_micros: self.now() as u64,
        }))
    }
}

fn plural(names: &[&str]) -> &'static str {
    if names.len() == 1 { "s" } else { "" }
}

fn describe(seen: &Seen) -> String {
    match &seen.carried {
        Carried::Icmp(kind, code) => format!("> icmp type {kind} code {code} to {}", seen.to),
        Carried::Other(protocol) => format!("> protocol {protocol} to {}", seen.to),
        Carried::Tcp { segment, .. } => format!("> {}", segment.spec()),
    }
}

/// Rounded up, so that what comes so long after it does not come a moment too early.
fn micros(at: Instant) -> Micros {
    at.as_nanos().div_ceil(1000) as Micros
}
