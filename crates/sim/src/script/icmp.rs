//! ICMP messages that a script puts in, by the names that packetdrill has for them.

use super::ast::IcmpSpec;

/// Types and codes of ICMP (RFC 792, RFC 1122 section 3.2.2.1).
const V4: &[(&str, &str, (u8, u8))] = &[
    ("unreachable", "net_unreachable", (3, 0)),
    ("unreachable", "host_unreachable", (3, 1)),
    ("unreachable", "protocol_unreachable", (3, 2)),
    ("unreachable", "port_unreachable", (3, 3)),
    ("unreachable", "frag_needed", (3, 4)),
    ("unreachable", "source_route_failed", (3, 5)),
    ("unreachable", "net_unknown", (3, 6)),
    ("unreachable", "host_unknown", (3, 7)),
    ("unreachable", "source_host_isolated", (3, 8)),
    ("unreachable", "net_prohibited", (3, 9)),
    ("unreachable", "host_prohibited", (3, 10)),
    ("unreachable", "net_unreachable_for_tos", (3, 11)),
    ("unreachable", "host_unreachable_for_tos", (3, 12)),
    ("unreachable", "packet_filtered", (3, 13)),
    ("unreachable", "precedence_violation", (3, 14)),
    ("unreachable", "precedence_cutoff", (3, 15)),
    ("source_quench", "", (4, 0)),
    ("redirect", "", (5, 0)),
    ("redirect", "net_redirect", (5, 0)),
    ("redirect", "host_redirect", (5, 1)),
    ("time_exceeded", "", (11, 0)),
    ("time_exceeded", "ttl_exceeded", (11, 0)),
    ("time_exceeded", "ttl_exceeded_in_transit", (11, 0)),
    ("time_exceeded", "frag_reass_exceeded", (11, 1)),
    ("time_exceeded", "reassembly_time_exceeded", (11, 1)),
    ("parameter_problem", "", (12, 0)),
    ("parameter_problem", "code_0", (12, 0)),
    ("parameter_problem", "code_1", (12, 1)),
    ("parameter_problem", "code_2", (12, 2)),
];

/// Types and codes of ICMPv6 (RFC 4443).
const V6: &[(&str, &str, (u8, u8))] = &[
    ("unreachable", "no_route", (1, 0)),
    ("unreachable", "admin_prohibited", (1, 1)),
    ("unreachable", "beyond_scope", (1, 2)),
    ("unreachable", "not_neighbour", (1, 2)),
    ("unreachable", "address_unreachable", (1, 3)),
    ("unreachable", "port_unreachable", (1, 4)),
    ("packet_too_big", "", (2, 0)),
    ("time_exceeded", "", (3, 0)),
    ("time_exceeded", "exceeded_hop_limit", (3, 0)),
    ("time_exceeded", "hop_limit_exceeded_in_transit", (3, 0)),
    ("time_exceeded", "frag_reass_exceeded", (3, 1)),
    ("time_exceeded", "exceeded_frag_time", (3, 1)),
    ("parameter_problem", "", (4, 0)),
    ("parameter_problem", "header_field", (4, 0)),
    ("parameter_problem", "unknown_next_header", (4, 1)),
    ("parameter_problem", "unknown_option", (4, 2)),
];

/// Type and code, and the word behind the checksum.
pub(super) fn header(spec: &IcmpSpec, is_ipv6: bool) -> Result<((u8, u8), u32), String> {
    let code = spec.code.as_deref().unwrap_or_default();
    let table = if is_ipv6 { V6 } else { V4 };
    let found = table.iter().find(|(kind, c, _)| *kind == spec.kind && *c == code);
    let Some((.., numbers)) = found else {
        return Err(format!("no such ICMP message here: {} {code}", spec.kind));
    };
    let mtu = spec.mtu.unwrap_or_default();
    Ok((*numbers, if is_ipv6 { mtu } else { mtu & 0xffff }))
}
