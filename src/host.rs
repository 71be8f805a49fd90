//! The kernel's part of a wire, set up with the tools that everybody knows.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::process::Command;

use crore::config::Prefix;

use crate::failure::Failure;

/// Gives the kernel's interface its addresses and puts it up.
pub(crate) fn set_up(interface: &str, addresses: &[Prefix]) -> Result<(), Failure> {
    if addresses.iter().any(|p| p.address.is_ipv6()) {
        // Containers often start with IPv6 off; a failure shows below.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "0");
    }
    for prefix in addresses {
        let text = prefix.to_string();
        let mut arguments = vec!["address", "replace", &text, "dev", interface];
        if prefix.address.is_ipv6() {
            // Nobody else can have it: without this, it is of no use for a second or two.
            arguments.push("nodad");
        }
        ip(&arguments).map_err(|failure| match prefix.address {
            IpAddr::V6(_) if !has_ipv6() => Failure::run(format!("{failure} (IPv6 is switched off here)")),
            _ => failure,
        })?;
    }
    ip(&["link", "set", interface, "up"]).map(drop)
}

/// Whether new interfaces get IPv6 here; in containers it is often switched off.
pub(crate) fn has_ipv6() -> bool {
    let off = |scope: &str| {
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
        std::fs::read_to_string(path).map_or(true, |text| text.trim() != "0")
    };
    !off("all") && !off("default")
}

/// Whether `ip` can be run at all.
pub(crate) fn has_iproute2() -> bool {
    Command::new("ip").arg("-V").output().is_ok()
}

/// The addresses and routes that the kernel has in the family, as prefixes.
pub(crate) fn known_prefixes() -> Result<Vec<Prefix>, Failure> {
    let mut prefixes = Vec::new();
    for family in ["-4", "-6"] {
        for what in [["address", "show"], ["route", "show"]] {
            let said = ip(&[family, "-o", what[0], what[1]])?;
            let words = said.split_whitespace();
            prefixes.extend(
                words
                    .filter(|w| w.contains('/'))
                    .filter_map(|w| w.parse::<Prefix>().ok()),
            );
        }
    }
    Ok(prefixes)
}

/// Whether two links have addresses in common.
pub(crate) fn overlap(a: &Prefix, b: &Prefix) -> bool {
    a.contains(b.address) || b.contains(a.address)
}

/// Another address on the same link, for whoever is on the other end.
pub(crate) fn neighbor_of(prefix: &Prefix) -> Option<Prefix> {
    let candidates = match prefix.address {
        IpAddr::V4(v4) => {
            let bits = u32::from(v4);
            let host = u32::MAX.checked_shr(prefix.length.into()).unwrap_or(0);
            let usable = |n: &u32| prefix.length >= 31 || (n & host != 0 && n & host != host);
            [bits.wrapping_sub(1), bits.wrapping_add(1)]
                .iter()
                .copied()
                .filter(usable)
                .map(|n| IpAddr::V4(n.into()))
                .collect::<Vec<_>>()
        }
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            let host = u128::MAX.checked_shr(prefix.length.into()).unwrap_or(0);
            let usable = |n: &u128| prefix.length >= 127 || n & host != 0;
            [bits.wrapping_sub(1), bits.wrapping_add(1)]
                .iter()
                .copied()
                .filter(usable)
                .map(|n| IpAddr::V6(n.into()))
                .collect()
        }
    };
    let address = candidates.into_iter().find(|&a| prefix.contains(a))?;
    Some(Prefix {
        address,
        length: prefix.length,
    })
}

/// Runs `ip`, and gives what it said.
pub(crate) fn ip(arguments: &[&str]) -> Result<String, Failure> {
    let said = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|e| match e.kind() {
            ErrorKind::NotFound => Failure::run("`ip` is missing: install the package iproute2"),
            _ => Failure::run(format!("`ip {}`: {e}", arguments.join(" "))),
        })?;
    if said.status.success() {
        return Ok(String::from_utf8_lossy(&said.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&said.stderr);
    Err(Failure::run(format!(
        "`ip {}`: {}",
        arguments.join(" "),
        why.trim()
    )))
}
