//! What a run may choose: the sysctls of a host, as a TOML file of knobs.
//!
//! An unknown key is an error that names the known ones; so is a value out of
//! its range.

use crore_base::{Duration, WindowScale};
use crore_stack::FastOpenPolicy;
use crore_tcp::{CongestionKind, EcnPolicy, Keepalive};
use crore_wire::OptionOrder;
use serde::Deserialize;
use thiserror::Error;

use super::calls::early::FastOpenBits;

/// The knobs of one host. An absent one has its default.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// `true`: each packet is acknowledged at once, whatever `delayed_ack_ms`
    /// says. `false`: acknowledgments are delayed, by 40 ms unless
    /// `delayed_ack_ms` says otherwise. Absent: `delayed_ack_ms` decides.
    pub quick_ack: Option<bool>,
    /// How long the acknowledgment of a lone segment may wait (RFC 9293 section
    /// 3.8.6.3); the second segment's never does. 0: not at all. Default 0.
    pub delayed_ack_ms: Option<u64>,
    /// The shortest retransmission time-out. Default 200.
    pub min_rto_ms: u64,
    /// The retransmission time-out before the first round trip was measured. Default 1000.
    pub initial_rto_ms: u64,
    /// The longest retransmission time-out. Default 120,000, as in Linux.
    pub max_rto_ms: u64,
    /// The congestion window at the start, in segments. Default 10.
    pub initial_window: u32,
    /// Bytes received that may wait for the program. Default 262,144.
    pub rcvbuf: u32,
    /// Bytes written that may wait for acknowledgment. Default 262,144.
    pub sndbuf: u32,
    /// Selective acknowledgments. Default true.
    pub sack: bool,
    /// Timestamps. Default true.
    pub timestamps: bool,
    /// Window scaling: `false`, `true` (as the buffer needs), or the shift to
    /// offer, 0 to 14. Default true.
    pub window_scale: WindowScaleKnob,
    /// Explicit congestion notification: `false`, `true` (offered and accepted),
    /// or a word: `off`, `passive` (accepted, not offered), `on`, `accurate-passive` and
    /// `accurate` (RFC 9768). Default `passive`.
    pub ecn: EcnKnob,
    /// The congestion control: `cubic`, `reno` (or `newreno`), `bbr`. Default `cubic`.
    pub congestion: CongestionName,
    /// How the options of a SYN are ordered: `linux` or `freebsd`. Default `linux`.
    pub syn_option_order: SynOptionOrder,
    /// The largest IP packet, in bytes. Default 1500.
    pub mtu: u16,
    /// The largest segment in either direction, in bytes; 0 leaves it to the MTU. Default 0.
    pub mss: u16,
    /// How long TIME-WAIT lasts. Default 60,000.
    pub time_wait_ms: u64,
    /// How long FIN-WAIT-2 lasts after the program has closed. Default 60,000.
    pub fin_wait_2_ms: u64,
    /// How often a SYN, or a SYN-ACK, is sent again. Default 6.
    pub syn_retries: u8,
    /// How often data is sent again before the connection is given up. Default 15.
    pub data_retries: u8,
    /// How often data is sent again once the program has closed. Default 8.
    pub orphan_retries: u8,
    /// How long data may stay unacknowledged; 0 leaves it to `data_retries`. Default 0.
    pub user_timeout_ms: u64,
    /// After how long a silence `SO_KEEPALIVE` probes. Default 7,200,000.
    pub keepalive_ms: u64,
    /// How long such a probe may stay unanswered. Default 75,000.
    pub keepalive_interval_ms: u64,
    /// How many of them in a row. Default 9.
    pub keepalive_probes: u8,
    /// TCP Fast Open (RFC 7413), by the bits of Linux' sysctl: 1 clients, 2 servers, 4
    /// clients without a cookie, 0x200 servers without one, 0x400 listeners that do not
    /// ask for it. Programs use it only if they say so. Default 1, as in Linux.
    pub fast_open: u32,
    /// For how long in virtual time a packet is waited for before it is said
    /// that none comes. Default 300,000: more than any silence between
    /// retransmissions; keepalive has longer ones.
    pub receive_timeout_ms: u64,
    /// What the secrets of the host are made of: sequence numbers, ports,
    /// cookies. The same one gives the same run. Default 0.
    pub seed: u64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            quick_ack: None,
            delayed_ack_ms: None,
            min_rto_ms: 200,
            initial_rto_ms: 1000,
            max_rto_ms: 120_000,
            initial_window: 10,
            rcvbuf: 256 * 1024,
            sndbuf: 256 * 1024,
            sack: true,
            timestamps: true,
            window_scale: WindowScaleKnob::Whether(true),
            ecn: EcnKnob::Word(EcnWord::Passive),
            congestion: CongestionName::default(),
            syn_option_order: SynOptionOrder::Linux,
            mtu: 1500,
            mss: 0,
            time_wait_ms: 60_000,
            fin_wait_2_ms: 60_000,
            syn_retries: 6,
            data_retries: 15,
            orphan_retries: 8,
            user_timeout_ms: 0,
            keepalive_ms: 7_200_000,
            keepalive_interval_ms: 75_000,
            keepalive_probes: 9,
            fast_open: 1,
            receive_timeout_ms: 300_000,
            seed: 0,
        }
    }
}

/// Whether windows are scaled, or by how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged)]
pub enum WindowScaleKnob {
    /// Not at all, or as the buffer needs.
    Whether(bool),
    /// By so many bits.
    Shift(u8),
}

/// Explicit congestion notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged)]
pub enum EcnKnob {
    /// Not at all, or offered.
    Whether(bool),
    /// By its name.
    Word(EcnWord),
}

/// The same in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EcnWord {
    /// Not at all.
    Off,
    /// Accepted, not offered.
    Passive,
    /// Offered and accepted.
    On,
    /// Accurate ECN is offered, either is accepted.
    Accurate,
    /// Either is accepted.
    #[serde(rename = "accurate-passive")]
    AccuratePassive,
}

impl EcnKnob {
    const fn policy(self) -> EcnPolicy {
        match self {
            Self::Whether(false) | Self::Word(EcnWord::Off) => EcnPolicy::Off,
            Self::Word(EcnWord::Passive) => EcnPolicy::Passive,
            Self::Whether(true) | Self::Word(EcnWord::On) => EcnPolicy::On,
            Self::Word(EcnWord::Accurate) => EcnPolicy::Accurate,
            Self::Word(EcnWord::AccuratePassive) => EcnPolicy::AccuratePassive,
        }
    }
}

/// A congestion control, by its usual name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CongestionName {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681.
    #[serde(rename = "reno", alias = "newreno")]
    NewReno,
    /// BBRv3.
    Bbr,
}

impl CongestionName {
    /// By the name that Linux has for it.
    pub(super) fn from_linux(name: &[u8]) -> Option<Self> {
        [Self::Cubic, Self::NewReno, Self::Bbr]
            .into_iter()
            .find(|known| known.linux_name().as_bytes() == name)
    }

    /// The name that Linux has for it.
    pub(super) const fn linux_name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::NewReno => "reno",
            Self::Bbr => "bbr",
        }
    }

    pub(super) const fn kind(self) -> CongestionKind {
        match self {
            Self::Cubic => CongestionKind::Cubic,
            Self::NewReno => CongestionKind::NewReno,
            Self::Bbr => CongestionKind::Bbr,
        }
    }
}

/// Whose order the options of a SYN have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SynOptionOrder {
    /// MSS, SACK permitted, timestamps, window scale.
    Linux,
    /// MSS, window scale, SACK permitted, timestamps.
    FreeBsd,
}

/// What is wrong with a file of knobs.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum KnobError {
    /// It is no TOML, or has a key or a word that is not known; the message
    /// names those that are.
    #[error("knobs: {0}")]
    Malformed(String),
    /// A number out of its range.
    #[error("knobs: {name} must be {range}")]
    Range {
        /// The key.
        name: &'static str,
        /// What it may be.
        range: &'static str,
    },
}

impl Knobs {
    /// Reads them from TOML.
    ///
    /// # Errors
    /// What [`KnobError`] says.
    pub fn from_toml(text: &str) -> Result<Self, KnobError> {
        let knobs: Self = toml::from_str(text).map_err(|error| KnobError::Malformed(error.to_string()))?;
        knobs.check()?;
        Ok(knobs)
    }

    fn check(&self) -> Result<(), KnobError> {
        let rules: [(bool, &'static str, &'static str); 11] = [
            ((576..=9000).contains(&self.mtu), "mtu", "576 to 9000"),
            (
                self.mss == 0 || (64..=9000).contains(&self.mss),
                "mss",
                "0, or 64 to 9000",
            ),
            ((1..=1 << 30).contains(&self.rcvbuf), "rcvbuf", "1 to 1073741824"),
            ((1..=1 << 30).contains(&self.sndbuf), "sndbuf", "1 to 1073741824"),
            (self.min_rto_ms > 0, "min_rto_ms", "at least 1"),
            (
                self.max_rto_ms >= self.min_rto_ms,
                "max_rto_ms",
                "at least min_rto_ms",
            ),
            (
                (1..=1000).contains(&self.initial_window),
                "initial_window",
                "1 to 1000",
            ),
            (
                self.delayed_ack_ms.unwrap_or(0) <= 500,
                "delayed_ack_ms",
                "at most 500 (RFC 9293 section 3.8.6.3)",
            ),
            (self.fast_open <= 0x7ff, "fast_open", "0 to 2047"),
            (self.keepalive_probes > 0, "keepalive_probes", "at least 1"),
            (
                !matches!(self.window_scale, WindowScaleKnob::Shift(15..)),
                "window_scale",
                "true, false, or 0 to 14",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, name, range)) => Err(KnobError::Range { name, range }),
            None => Ok(()),
        }
    }

    /// How long a lone acknowledgment waits.
    pub fn ack_delay(&self) -> Duration {
        const USUAL_MS: u64 = 40;
        Duration::from_millis(match (self.quick_ack, self.delayed_ack_ms) {
            (Some(true), _) | (None, None) => 0,
            (_, Some(delay)) => delay,
            (Some(false), None) => USUAL_MS,
        })
    }

    /// Who may use Fast Open.
    pub(super) fn fast_open_policy(&self) -> FastOpenPolicy {
        let bits = FastOpenBits(self.fast_open);
        match (bits.client(), bits.server()) {
            (false, false) => FastOpenPolicy::Off,
            (true, false) => FastOpenPolicy::Client,
            (false, true) => FastOpenPolicy::Server,
            (true, true) => FastOpenPolicy::Both,
        }
    }

    /// What they say of TCP. Nagle's algorithm is on, as sockets have it.
    pub(super) fn tcp(&self) -> crore_tcp::Config {
        crore_tcp::Config {
            receive_buffer: self.rcvbuf,
            send_buffer: self.sndbuf,
            mss_max: if self.mss == 0 { u16::MAX } else { self.mss },
            window_scaling: self.window_scale != WindowScaleKnob::Whether(false),
            window_scale: match self.window_scale {
                WindowScaleKnob::Whether(_) => None,
                WindowScaleKnob::Shift(shift) => Some(WindowScale::new(shift)),
            },
            syn_option_order: match self.syn_option_order {
                SynOptionOrder::Linux => OptionOrder::Linux,
                SynOptionOrder::FreeBsd => OptionOrder::FreeBsd,
            },
            timestamps: self.timestamps,
            sack: self.sack,
            nodelay: false,
            initial_window: self.initial_window,
            rto_initial: Duration::from_millis(self.initial_rto_ms),
            rto_min: Duration::from_millis(self.min_rto_ms),
            rto_max: Duration::from_millis(self.max_rto_ms),
            syn_retries: self.syn_retries,
            data_retries: self.data_retries,
            time_wait: Duration::from_millis(self.time_wait_ms),
            fin_wait_2: Duration::from_millis(self.fin_wait_2_ms),
            delayed_ack: self.ack_delay(),
            congestion: self.congestion.kind(),
            ecn: self.ecn.policy(),
            orphan_retries: self.orphan_retries,
            user_timeout: (self.user_timeout_ms > 0).then(|| Duration::from_millis(self.user_timeout_ms)),
            keepalive: Keepalive {
                on: false,
                idle: Duration::from_millis(self.keepalive_ms),
                interval: Duration::from_millis(self.keepalive_interval_ms),
                count: self.keepalive_probes,
            },
            // As Linux has it (tcp_mtu_probing = 0): a script that loses data again
            // and again asks about time-outs, not about black holes.
            mtu_probing: crore_tcp::MtuProbing::Off,
            ..crore_tcp::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_knob_is_told_which_there_are() {
        let error = Knobs::from_toml("quick_akc = true").expect_err("a slip");
        let text = error.to_string();
        for known in [
            "quick_akc",
            "quick_ack",
            "delayed_ack_ms",
            "syn_option_order",
            "time_wait_ms",
        ] {
            assert!(text.contains(known), "{known} is named in {text}");
        }
        let error = Knobs::from_toml("syn_option_order = \"solaris\"").expect_err("no such order");
        assert!(error.to_string().contains("freebsd"), "{error}");
    }

    #[test]
    fn every_knob_is_in_the_manual() {
        let manual = include_str!("../../../../docs/PACKETDRILL.md");
        let error = Knobs::from_toml("none = 1")
            .expect_err("there is none")
            .to_string();
        let (_, known) = error.split_once("expected one of").expect("it names them");
        let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            assert!(
                manual.contains(&format!("`{name}`")),
                "{name} is not in docs/PACKETDRILL.md"
            );
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (text, name) in [
            ("mtu = 100", "mtu"),
            ("window_scale = 15", "window_scale"),
            ("delayed_ack_ms = 501", "delayed_ack_ms"),
            ("initial_window = 0", "initial_window"),
            ("rcvbuf = 0", "rcvbuf"),
            ("min_rto_ms = 0", "min_rto_ms"),
            ("keepalive_probes = 0", "keepalive_probes"),
        ] {
            let error = Knobs::from_toml(text).expect_err(text);
            assert!(
                matches!(error, KnobError::Range { name: n, .. } if n == name),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn quick_acks_and_delayed_ones_are_one_question() {
        for (text, delay) in [
            ("", 0),
            ("delayed_ack_ms = 100", 100),
            ("quick_ack = false", 40),
            ("quick_ack = false\ndelayed_ack_ms = 10", 10),
            ("quick_ack = true\ndelayed_ack_ms = 40", 0),
        ] {
            let knobs = Knobs::from_toml(text).expect(text);
            assert_eq!(knobs.ack_delay(), Duration::from_millis(delay), "{text:?}");
        }
    }

    #[test]
    fn ecn_and_congestion_have_their_usual_names() {
        let tcp = |text: &str| Knobs::from_toml(text).map(|knobs| knobs.tcp()).expect(text);
        assert_eq!(tcp("").ecn, EcnPolicy::Passive, "as Linux");
        assert_eq!(tcp("ecn = true").ecn, EcnPolicy::On, "offered");
        assert_eq!(tcp("ecn = \"off\"").ecn, EcnPolicy::Off, "not at all");
        for (name, kind) in [
            ("cubic", CongestionKind::Cubic),
            ("reno", CongestionKind::NewReno),
            ("newreno", CongestionKind::NewReno),
            ("bbr", CongestionKind::Bbr),
        ] {
            assert_eq!(
                tcp(&format!("congestion = \"{name}\"")).congestion,
                kind,
                "{name}"
            );
        }
        assert!(Knobs::from_toml("congestion = \"vegas\"").is_err(), "not here");
    }

    #[test]
    fn a_window_scale_is_a_word_or_a_number() {
        let scale = |text| Knobs::from_toml(text).map(|knobs| knobs.tcp()).expect(text);
        assert!(!scale("window_scale = false").window_scaling, "off");
        assert_eq!(scale("window_scale = true").window_scale, None, "as needed");
        assert_eq!(
            scale("window_scale = 7").window_scale,
            Some(WindowScale::new(7)),
            "just this"
        );
    }
}
