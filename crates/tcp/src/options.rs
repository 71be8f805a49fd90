//! What an application may choose for one connection, apart from the others.
//!
//! Read first: RFC 9293 section 3.9.1 (the user's calls), RFC 1122 section 4.2.3.
//!
//! A connection looks at its [`Config`] alone. [`Options`] are the part of one
//! that an application may set for itself: small, comparable and copied, so that
//! connections which chose the same can share one configuration, and those that
//! chose nothing share the stack's.

use crore_base::Duration;

use crate::config::MSS_FLOOR;
use crate::{Config, CongestionKind};

/// The bits of the traffic class that are a host's to choose; the others are ECN's.
const DSCP: u8 = 0xfc;

/// When a silent peer is asked whether it is alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// Whether at all.
    pub on: bool,
    /// After how long a silence it is asked first.
    pub idle: Duration,
    /// How long it has for an answer, before it is asked again.
    pub interval: Duration,
    /// How often it is asked in vain before it is given up. 0 is taken for 1.
    pub count: u8,
}

impl Keepalive {
    //= rfc9293#section-3.8.4 (MUST)
    // Off unless asked for, and then no oftener than every two hours unless told so.
    /// Off; every two hours if nothing but `on` is changed.
    pub const OFF: Self = Self {
        on: false,
        idle: Duration::from_secs(7_200),
        interval: Self::INTERVAL,
        count: 9,
    };
    const INTERVAL: Duration = Duration::from_secs(75);

    /// On, after `idle`; then no less often, nine times.
    pub fn every(idle: Duration) -> Self {
        Self {
            on: true,
            idle,
            interval: idle.min(Self::INTERVAL),
            ..Self::OFF
        }
    }

    /// After how long a silence the peer is asked, if at all.
    pub fn idle(&self) -> Option<Duration> {
        // Not at once upon each answer.
        self.on.then(|| self.idle.max(Duration::from_millis(1)))
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self::OFF
    }
}

/// What one connection may have otherwise than the others. Each field is that of
/// [`Config`] with the same name, where it is explained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is a field of Config, and documented there")]
pub struct Options {
    pub nodelay: bool,
    pub cork: bool,
    pub keepalive: Keepalive,
    pub user_timeout: Option<Duration>,
    pub linger: Option<Duration>,
    pub receive_buffer: u32,
    pub send_buffer: u32,
    pub window_clamp: u32,
    pub mss_max: u16,
    pub congestion: CongestionKind,
    pub syn_retries: u8,
    pub fin_wait_2: Duration,
    pub delayed_ack: Duration,
    pub dscp: u8,
    pub hop_limit: Option<u8>,
}

/// One of the [`Options`], and what it is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpOption {
    /// Whether small writes are sent at once (`TCP_NODELAY`).
    Nodelay(bool),
    /// Whether segments that are not full are held back (`TCP_CORK`).
    Cork(bool),
    /// Whether and when a silent peer is probed (`SO_KEEPALIVE`, `TCP_KEEPIDLE`,
    /// `TCP_KEEPINTVL`, `TCP_KEEPCNT`).
    Keepalive(Keepalive),
    /// How long data may stay unacknowledged (`TCP_USER_TIMEOUT`).
    UserTimeout(Option<Duration>),
    /// How long a close may take (`SO_LINGER`).
    Linger(Option<Duration>),
    /// Bytes that may wait for the reader (`SO_RCVBUF`). Other than the stack's own,
    /// it does not grow.
    ReceiveBuffer(u32),
    /// Bytes that may wait for acknowledgment (`SO_SNDBUF`). Other than the stack's
    /// own, it does not grow.
    SendBuffer(u32),
    /// The largest window to be offered (`TCP_WINDOW_CLAMP`).
    WindowClamp(u32),
    /// The largest segment (`TCP_MAXSEG`). On an open connection it can only sink.
    MssMax(u16),
    /// The congestion control (`TCP_CONGESTION`).
    Congestion(CongestionKind),
    /// How often a SYN is sent again (`TCP_SYNCNT`).
    SynRetries(u8),
    /// How long a closed connection waits for the peer's FIN (`TCP_LINGER2`).
    FinWait2(Duration),
    /// How long the acknowledgment of a lone segment may wait (zero: `TCP_QUICKACK`).
    DelayedAck(Duration),
    /// How what is sent is to be treated on its way (`IP_TOS`, `IPV6_TCLASS`): the
    /// upper six bits of the byte.
    Dscp(u8),
    /// How far what is sent may go (`IP_TTL`, `IPV6_UNICAST_HOPS`); none: as far as
    /// the host's usually.
    HopLimit(Option<u8>),
}

impl Options {
    /// Those of `config`.
    pub const fn of(config: &Config) -> Self {
        Self {
            nodelay: config.nodelay,
            cork: config.cork,
            keepalive: config.keepalive,
            user_timeout: config.user_timeout,
            linger: config.linger,
            receive_buffer: config.receive_buffer,
            send_buffer: config.send_buffer,
            window_clamp: config.window_clamp,
            mss_max: config.mss_max,
            congestion: config.congestion,
            syn_retries: config.syn_retries,
            fin_wait_2: config.fin_wait_2,
            delayed_ack: config.delayed_ack,
            dscp: config.dscp,
            hop_limit: config.hop_limit,
        }
    }

    /// `config` with these.
    pub fn apply_to(&self, config: &Config) -> Config {
        let Self {
            nodelay,
            cork,
            keepalive,
            user_timeout,
            linger,
            receive_buffer,
            send_buffer,
            window_clamp,
            mss_max,
            congestion,
            syn_retries,
            fin_wait_2,
            delayed_ack,
            dscp,
            hop_limit,
        } = *self;
        Config {
            nodelay,
            cork,
            keepalive,
            user_timeout,
            linger,
            receive_buffer,
            send_buffer,
            window_clamp,
            mss_max,
            congestion,
            syn_retries,
            fin_wait_2,
            delayed_ack,
            dscp,
            hop_limit,
            // A size that was chosen is kept to.
            receive_buffer_max: if receive_buffer == config.receive_buffer {
                config.receive_buffer_max
            } else {
                0
            },
            send_buffer_max: if send_buffer == config.send_buffer {
                config.send_buffer_max
            } else {
                0
            },
            ..config.clone()
        }
    }

    /// Sets one of them.
    pub const fn set(&mut self, option: TcpOption) {
        match option {
            TcpOption::Nodelay(on) => self.nodelay = on,
            TcpOption::Cork(on) => self.cork = on,
            TcpOption::Keepalive(keepalive) => self.keepalive = keepalive,
            TcpOption::UserTimeout(time) => self.user_timeout = time,
            TcpOption::Linger(time) => self.linger = time,
            TcpOption::ReceiveBuffer(bytes) => self.receive_buffer = bytes,
            TcpOption::SendBuffer(bytes) => self.send_buffer = bytes,
            TcpOption::WindowClamp(bytes) => self.window_clamp = bytes,
            TcpOption::MssMax(bytes) => self.mss_max = bytes,
            TcpOption::Congestion(kind) => self.congestion = kind,
            TcpOption::SynRetries(times) => self.syn_retries = times,
            TcpOption::FinWait2(time) => self.fin_wait_2 = time,
            TcpOption::Dscp(class) => self.dscp = class & DSCP,
            TcpOption::HopLimit(limit) => self.hop_limit = limit,
            TcpOption::DelayedAck(time) => self.delayed_ack = time,
        }
    }
}

impl Config {
    /// Received bytes that may wait for the application, as far as windows go.
    pub(crate) fn receive_limit(&self) -> u32 {
        self.receive_buffer.min(self.window_clamp).max(1)
    }

    /// As far as that may grow.
    pub(crate) fn receive_ceiling(&self) -> u32 {
        self.receive_buffer_most()
            .min(self.window_clamp)
            .max(self.receive_limit())
    }

    /// The same whatever the window is clamped to.
    pub(crate) fn receive_buffer_most(&self) -> u32 {
        const TIMES: u32 = 64;
        self.receive_buffer_max
            .min(self.receive_buffer.saturating_mul(TIMES))
    }

    /// As far as what waits for acknowledgment may grow.
    pub(crate) fn send_ceiling(&self) -> u32 {
        self.send_buffer_max.max(self.send_buffer)
    }

    /// Start and ceiling of what may wait for the application.
    pub(crate) fn receive_limits(&self) -> (u32, u32) {
        (self.receive_limit(), self.receive_ceiling())
    }

    /// Start and ceiling of what may wait for acknowledgment.
    pub(crate) fn send_limits(&self) -> (u32, u32) {
        (self.send_buffer, self.send_ceiling())
    }

    /// The largest segment that may be sent or asked for on a path that takes `path_mss`.
    pub(crate) fn segment_limit(&self, path_mss: u16) -> u16 {
        path_mss.min(self.mss_max).max(MSS_FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects an option from being set into another one's place, or lost on
    /// its way into a configuration.
    #[test]
    fn each_option_arrives_in_its_own_place() {
        let config = Config::default();
        let seconds = Duration::from_secs;
        let changes = [
            TcpOption::Nodelay(false),
            TcpOption::Cork(true),
            TcpOption::Keepalive(Keepalive::every(seconds(1))),
            TcpOption::UserTimeout(Some(seconds(2))),
            TcpOption::Linger(Some(seconds(3))),
            TcpOption::ReceiveBuffer(4),
            TcpOption::SendBuffer(5),
            TcpOption::WindowClamp(6),
            TcpOption::MssMax(700),
            TcpOption::SynRetries(8),
            TcpOption::FinWait2(seconds(9)),
            TcpOption::DelayedAck(seconds(10)),
        ];
        let mut all = Options::of(&config);
        let mut seen = Vec::new();
        for change in changes {
            let mut one = Options::of(&config);
            one.set(change);
            assert_ne!(one, Options::of(&config), "{change:?} changes something");
            assert!(!seen.contains(&one), "{change:?} changes something of its own");
            assert_eq!(Options::of(&one.apply_to(&config)), one, "{change:?} arrives");
            seen.push(one);
            all.set(change);
        }
        assert_eq!(Options::of(&all.apply_to(&config)), all, "all of them together");
        assert_eq!(
            all.apply_to(&config).data_retries,
            config.data_retries,
            "the rest stays"
        );
    }

    //= rfc9293#section-3.8.4 (MUST)
    #[test]
    fn keepalives_are_off_and_two_hours_apart_unless_told_otherwise() {
        let default = Config::default().keepalive;
        assert_eq!(default.idle(), None, "off");
        assert!(default.idle >= Duration::from_secs(7_200), "two hours");
    }
}
