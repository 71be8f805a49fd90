//! What was seen, held against what was expected.

use super::ast::{AckSpec, EcnSpec, IpSpec, TcpFlags, TcpSpec};
use super::options::match_options;

/// The names of what differs; empty if nothing does.
pub(super) fn differences(expected: &TcpSpec, seen: &TcpSpec) -> Vec<&'static str> {
    let mut differ = Vec::new();
    let mut check = |same: bool, name| {
        if !same {
            differ.push(name);
        }
    };
    check(expected.flags == seen.flags, "flags");
    check(
        expected.seq.is_none_or(|seq| Some(seq) == seen.seq),
        "sequence number",
    );
    check(expected.len == seen.len, "length");
    check(same_ack(expected, seen), "ack");
    check(expected.win.is_none_or(|win| Some(win) == seen.win), "win");
    check(expected.urg.is_none_or(|urg| Some(urg) == seen.urg), "urg");
    let options = match (&expected.options, &seen.options) {
        (Some(expected), Some(seen)) => match_options(expected, seen),
        _ => true,
    };
    check(options, "options");
    differ
}

fn same_ack(expected: &TcpSpec, seen: &TcpSpec) -> bool {
    match expected.ack {
        AckSpec::Any => true,
        // A field that does not count is 0.
        AckSpec::Absent if !expected.flags.has(TcpFlags::ACK) => {
            matches!(seen.ack, AckSpec::Absent | AckSpec::Exactly(0))
        }
        AckSpec::Absent => seen.ack == AckSpec::Exactly(0),
        AckSpec::Exactly(_) => expected.ack == seen.ack,
    }
}

/// The names of what differs in the IP header, as far as anything was said of it.
pub(super) fn ip_differences(expected: &IpSpec, seen: &IpSpec) -> Vec<&'static str> {
    let ecn = match (expected.ecn, seen.ecn) {
        (Some(EcnSpec::Capable), Some(EcnSpec::Exactly(bits))) => bits == 1 || bits == 2,
        (Some(expected), seen) => Some(expected) == seen,
        (None, _) => true,
    };
    let mut differ = Vec::new();
    if !ecn {
        differ.push("ECN field");
    }
    if expected.tos.is_some() && expected.tos != seen.tos {
        differ.push("tos");
    }
    if expected.ttl.is_some() && expected.ttl != seen.ttl {
        differ.push("ttl");
    }
    if expected.flow_label.is_some() && expected.flow_label != seen.flow_label {
        differ.push("flowlabel");
    }
    differ
}

/// What was seen, with no more said of the IP header than the expectation says.
pub(super) fn shown_ip(expected: &IpSpec, seen: &IpSpec) -> IpSpec {
    IpSpec {
        ecn: expected.ecn.and(seen.ecn),
        tos: expected.tos.and(seen.tos),
        ttl: expected.ttl.and(seen.ttl),
        flow_label: expected.flow_label.and(seen.flow_label),
    }
}
