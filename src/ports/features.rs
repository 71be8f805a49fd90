//! Feature by feature: what a port has, what was asked of it, and what came of that.

use core::fmt;

use crore::config::Config;
use crore_dpdk::{Offloads, Port, PortConfig, PortInfo};
use serde::Serialize;

/// A port's features, in the order in which they are shown.
#[derive(Debug, Serialize)]
pub(super) struct Features {
    rx_checksum: Feature,
    tx_ipv4_checksum: Feature,
    tx_tcp_checksum: Feature,
    tso: Feature,
    gso: Feature,
    gro: Feature,
    rss: Feature,
    queues: Feature,
    scatter: Feature,
    mtu: Feature,
}

/// A port that is open.
pub(super) struct Opened<'a> {
    pub(super) config: &'a Config,
    pub(super) asked: PortConfig,
    pub(super) port: &'a Port,
}

/// One of them. Where the port was not opened, nothing was asked and nothing got.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Feature {
    has: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    got: Option<Amount>,
    /// Why that is less than the port has.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
}

/// Of what is there or not, or of what is there more or less often.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
enum Amount {
    Is(bool),
    Number(u16),
}

const NOT_ASKED: &str = "not asked for: wire.offload, or [faults]";
const IMITATED: &str = "the driver imitates it at a cost that the stack's own does not have";
const NOT_ASKED_TSO: &str = "not asked for: wire.offload, wire.tso, or [faults]";
const BY_PORT: &str = "the port cuts segments: TSO";
const NOT_ASKED_GSO: &str = "not asked for: wire.gso";
const NOT_ASKED_GRO: &str = "not asked for: wire.gro";
const ONE_QUEUE: &str = "one queue: nothing to divide";
const DIVIDED_ELSEWHERE: &str = "who sends divides the flows; what comes to the wrong shard is handed on";
const WHOLE: &str = "each buffer holds a whole frame";
const SMALL_INTERFACE: &str = "the kernel's interface has no more";

impl Features {
    /// Of a port that was opened, or was not.
    pub(super) fn of(info: &PortInfo, opened: Option<&Opened<'_>>) -> Self {
        let wire = opened.map(|opened| &opened.config.wire);
        let scatters = opened.is_some_and(|opened| opened.asked.scatters(opened.port.pool()));
        let opened = opened.map(|opened| (&opened.asked, opened.port));
        let can = info.offloads();
        let checksum = |of: fn(&Offloads) -> bool| {
            let told = opened.map(|(asked, port)| (of(&asked.offloads), of(&port.offloads())));
            let feature = Feature::new(of(&can), told);
            match told {
                Some((false, _)) => feature.because(NOT_ASKED),
                Some(_) if info.imitates_offloads() => feature.because(IMITATED),
                _ => feature,
            }
        };
        let told_tso = opened.map(|(asked, port)| (asked.offloads.tso, port.offloads().tso));
        let tso = Feature::new(can.tso, told_tso);
        // Of the stack's own making, wherever the port has nothing better.
        let cuts = told_tso.is_some_and(|(_, got)| got);
        let gso = wire.map(|wire| (wire.gso, wire.gso && !cuts));
        let rss = opened.map(|(asked, port)| (asked.queues > 1, port.rss().is_some()));
        let mtu = opened.map(|(asked, port)| (asked.mtu, port.mtu()));
        Self {
            rx_checksum: checksum(|offloads| offloads.rx_checksum),
            tx_ipv4_checksum: checksum(|offloads| offloads.tx_ipv4_checksum),
            tx_tcp_checksum: checksum(|offloads| offloads.tx_tcp_checksum),
            tso: match told_tso {
                Some((true, false)) if info.imitates_offloads() => tso.because(IMITATED),
                _ => tso.because(NOT_ASKED_TSO),
            },
            gso: Feature::new(true, gso).because(match gso {
                Some((true, _)) => BY_PORT,
                _ => NOT_ASKED_GSO,
            }),
            gro: Feature::new(true, wire.map(|wire| (wire.gro, wire.gro))).because(NOT_ASKED_GRO),
            rss: Feature::new(info.rss(), rss).because(match rss {
                Some((true, _)) => DIVIDED_ELSEWHERE,
                _ => ONE_QUEUE,
            }),
            queues: Feature::new(
                info.max_rx_queues.min(info.max_tx_queues),
                opened.map(|(asked, port)| (asked.queues, port.queues())),
            ),
            scatter: Feature::new(info.scatter(), opened.map(|(_, port)| (scatters, port.scatter())))
                .because(WHOLE),
            mtu: match mtu {
                Some((asked, got)) if got < asked => Feature::new(info.max_mtu, mtu).because(SMALL_INTERFACE),
                _ => Feature::new(info.max_mtu, mtu),
            },
        }
    }

    /// As a table, each line after `indent`.
    pub(super) fn table(&self, indent: &str) -> String {
        let Self {
            rx_checksum,
            tx_ipv4_checksum,
            tx_tcp_checksum,
            tso,
            gso,
            gro,
            rss,
            queues,
            scatter,
            mtu,
        } = self;
        let rows = [
            ("receive checksum", rx_checksum),
            ("send IPv4 checksum", tx_ipv4_checksum),
            ("send TCP checksum", tx_tcp_checksum),
            ("TSO", tso),
            ("GSO, in software", gso),
            ("GRO, in software", gro),
            ("RSS", rss),
            ("queues", queues),
            ("scatter", scatter),
            ("MTU", mtu),
        ];
        let head = format!("{indent}{:<20}{:>6}{:>7}{:>7}", "", "has", "asked", "got");
        let lines = rows.iter().map(|(name, feature)| {
            let line = format!("{indent}{name:<20}{feature}");
            format!("\n{}", line.trim_end())
        });
        head + &lines.collect::<String>()
    }
}

impl Feature {
    fn new(has: impl Into<Amount>, told: Option<(impl Into<Amount>, impl Into<Amount>)>) -> Self {
        let (asked, got) = told.map(|(asked, got)| (asked.into(), got.into())).unzip();
        Self {
            has: has.into(),
            asked,
            got,
            why: None,
        }
    }

    /// With the reason, if there is something to explain: the port has it, and it is not used.
    fn because(mut self, why: &'static str) -> Self {
        let unused = match (self.has, self.got) {
            (Amount::Is(has), Some(Amount::Is(got))) => has && !got,
            (Amount::Number(has), Some(Amount::Number(got))) => got < has,
            _ => false,
        };
        self.why = unused.then_some(why);
        self
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |amount: Option<Amount>| match amount {
            None => "-".to_owned(),
            Some(Amount::Is(true)) => "yes".to_owned(),
            Some(Amount::Is(false)) => "no".to_owned(),
            Some(Amount::Number(number)) => number.to_string(),
        };
        let (has, asked, got) = (text(Some(self.has)), text(self.asked), text(self.got));
        write!(f, "{has:>6}{asked:>7}{got:>7}  {}", self.why.unwrap_or_default())
    }
}

impl From<bool> for Amount {
    fn from(is: bool) -> Self {
        Self::Is(is)
    }
}

impl From<u16> for Amount {
    fn from(number: u16) -> Self {
        Self::Number(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_given_where_a_port_has_what_is_not_used() {
        for (has, told, explained) in [
            (true, Some((true, false)), true),
            (true, Some((false, false)), true),
            (true, Some((true, true)), false),
            (false, Some((true, false)), false),
            (true, None, false),
        ] {
            let why = Feature::new(has, told).because("so").why;
            assert_eq!(why.is_some(), explained, "has {has}, {told:?}");
        }
    }

    #[test]
    fn columns_stand_below_their_heads() {
        let feature = |has: u16| Feature::new(has, Some((1500u16, 1400u16)));
        let line = feature(65_535).because(SMALL_INTERFACE).to_string();
        assert_eq!(line, format!(" 65535   1500   1400  {SMALL_INTERFACE}"));
        let unopened = Feature::new(true, None::<(bool, bool)>);
        assert_eq!(unopened.to_string().trim_end(), "   yes      -      -");
        let json = serde_json::to_string(&unopened).expect("it is JSON");
        assert_eq!(json, r#"{"has":true}"#, "nothing was asked and nothing got");
    }
}
