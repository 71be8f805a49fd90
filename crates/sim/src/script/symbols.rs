//! Names that stand for numbers in calls and assertions.

use super::ast::Expr;
use crate::posix::Errno;

macro_rules! names {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name as i64)),*] };
}

/// What the system's headers define.
const SYSTEM: &[(&str, i64)] = names! {
    AF_INET AF_INET6 AF_UNSPEC PF_INET PF_INET6
    SOCK_STREAM SOCK_DGRAM SOCK_SEQPACKET SOCK_RAW SOCK_NONBLOCK SOCK_CLOEXEC
    IPPROTO_IP IPPROTO_TCP IPPROTO_IPV6 IPPROTO_UDP IPPROTO_ICMP IPPROTO_ICMPV6 IPPROTO_SCTP
    SOL_SOCKET SOL_TCP SOL_IP SOL_IPV6
    SO_REUSEADDR SO_REUSEPORT SO_ERROR SO_KEEPALIVE SO_LINGER SO_OOBINLINE SO_RCVBUF SO_SNDBUF SO_RCVLOWAT
    SO_SNDLOWAT SO_RCVTIMEO SO_SNDTIMEO SO_ACCEPTCONN SO_TYPE SO_PROTOCOL SO_DOMAIN SO_BROADCAST SO_DONTROUTE
    SO_PRIORITY SO_TIMESTAMP SO_TIMESTAMPING SO_MARK SO_INCOMING_CPU SO_ZEROCOPY SO_MAX_PACING_RATE SO_TXTIME
    SO_RCVBUFFORCE SO_SNDBUFFORCE SO_BUSY_POLL
    TCP_NODELAY TCP_MAXSEG TCP_CORK TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT TCP_SYNCNT TCP_LINGER2 TCP_DEFER_ACCEPT
    TCP_WINDOW_CLAMP TCP_INFO TCP_QUICKACK TCP_CONGESTION TCP_USER_TIMEOUT TCP_FASTOPEN TCP_FASTOPEN_CONNECT
    TCP_FASTOPEN_KEY TCP_FASTOPEN_NO_COOKIE TCP_NOTSENT_LOWAT TCP_TIMESTAMP TCP_MD5SIG TCP_REPAIR TCP_SAVE_SYN
    TCP_SAVED_SYN TCP_INQ TCP_CM_INQ TCP_ULP TCP_THIN_LINEAR_TIMEOUTS TCP_THIN_DUPACK TCP_REPAIR_OPTIONS
    TCP_QUEUE_SEQ TCP_REPAIR_QUEUE TCP_ZEROCOPY_RECEIVE
    IP_TOS IP_TTL IP_MTU IP_MTU_DISCOVER IP_PMTUDISC_DO IP_PMTUDISC_DONT IP_PMTUDISC_WANT IP_PMTUDISC_PROBE
    IP_RECVERR IP_FREEBIND IP_BIND_ADDRESS_NO_PORT IP_TRANSPARENT IP_RECVTOS IP_RECVTTL
    IPV6_V6ONLY IPV6_TCLASS IPV6_UNICAST_HOPS IPV6_RECVERR IPV6_MTU IPV6_MTU_DISCOVER IPV6_RECVTCLASS
    F_GETFL F_SETFL F_GETFD F_SETFD O_RDWR O_RDONLY O_WRONLY O_NONBLOCK O_APPEND FD_CLOEXEC
    FIONREAD FIONBIO TIOCOUTQ TIOCINQ
    MSG_PEEK MSG_OOB MSG_DONTWAIT MSG_WAITALL MSG_TRUNC MSG_CTRUNC MSG_NOSIGNAL MSG_MORE MSG_EOR MSG_FASTOPEN
    MSG_ERRQUEUE MSG_ZEROCOPY MSG_DONTROUTE
    POLLIN POLLOUT POLLPRI POLLERR POLLHUP POLLNVAL POLLRDNORM POLLRDBAND POLLWRNORM POLLWRBAND POLLRDHUP
    EPOLLIN EPOLLOUT EPOLLPRI EPOLLERR EPOLLHUP EPOLLRDNORM EPOLLRDBAND EPOLLWRNORM EPOLLWRBAND EPOLLRDHUP
    EPOLLET EPOLLONESHOT EPOLL_CTL_ADD EPOLL_CTL_MOD EPOLL_CTL_DEL EPOLL_CLOEXEC
    SHUT_RD SHUT_WR SHUT_RDWR
    SPLICE_F_MOVE SPLICE_F_NONBLOCK SPLICE_F_MORE
    SO_PEEK_OFF SOMAXCONN
};

/// What libc does not have, or has under another name. Numbers are Linux'.
const OTHERS: &[(&str, i64)] = &[
    ("SIOCINQ", libc::FIONREAD as i64),
    ("SIOCOUTQ", libc::TIOCOUTQ as i64),
    ("SIOCATMARK", 0x8905),
    ("SIOCOUTQNSD", 0x894b),
    ("SOL_UDP", 17),
    ("TCP_IS_MPTCP", 43),
    ("TCP_TX_DELAY", 37),
    ("IPPROTO_MPTCP", 262),
    ("INADDR_ANY", 0),
    ("NULL", 0),
    ("TCPI_OPT_TIMESTAMPS", 1),
    ("TCPI_OPT_SACK", 2),
    ("TCPI_OPT_WSCALE", 4),
    ("TCPI_OPT_ECN", 8),
    ("TCPI_OPT_ECN_SEEN", 16),
    ("TCPI_OPT_SYN_DATA", 32),
    ("TCP_CA_Open", 0),
    ("TCP_CA_Disorder", 1),
    ("TCP_CA_CWR", 2),
    ("TCP_CA_Recovery", 3),
    ("TCP_CA_Loss", 4),
    ("TCP_ESTABLISHED", 1),
    ("TCP_SYN_SENT", 2),
    ("TCP_SYN_RECV", 3),
    ("TCP_FIN_WAIT1", 4),
    ("TCP_FIN_WAIT2", 5),
    ("TCP_TIME_WAIT", 6),
    ("TCP_CLOSE", 7),
    ("TCP_CLOSE_WAIT", 8),
    ("TCP_LAST_ACK", 9),
    ("TCP_LISTEN", 10),
    ("TCP_CLOSING", 11),
    ("TCPS_CLOSED", 7),
    ("TCPS_LISTEN", 10),
    ("TCPS_SYN_SENT", 2),
    ("TCPS_SYN_RECEIVED", 3),
    ("TCPS_ESTABLISHED", 1),
    ("TCPS_CLOSE_WAIT", 8),
    ("TCPS_FIN_WAIT_1", 4),
    ("TCPS_CLOSING", 11),
    ("TCPS_LAST_ACK", 9),
    ("TCPS_FIN_WAIT_2", 5),
    ("TCPS_TIME_WAIT", 6),
];

/// The number that a name stands for.
pub(super) fn value(name: &str) -> Option<i64> {
    SYSTEM
        .iter()
        .chain(OTHERS)
        .find(|(known, _)| *known == name)
        .map(|&(_, value)| value)
        .or_else(|| errno(name).map(|errno| i64::from(errno.0)))
}

/// The error of this name; some have two.
pub(super) fn errno(name: &str) -> Option<Errno> {
    Errno::from_name(match name {
        "EWOULDBLOCK" => "EAGAIN",
        "ENOTSUP" => "EOPNOTSUPP",
        name => name,
    })
}

/// The number that an expression stands for.
pub(super) fn number(expr: &Expr) -> Result<i64, String> {
    match expr {
        Expr::Int(value) => Ok(*value),
        Expr::Word(name) => value(name).ok_or_else(|| format!("{name} has no value here")),
        Expr::Or(left, right) => Ok(number(left)? | number(right)?),
        Expr::Apply(name, arguments) => match (name.as_str(), arguments.as_slice()) {
            ("htons" | "ntohs" | "htonl" | "ntohl", [value]) => number(value),
            ("sizeof", [of]) => size_of_value(of),
            _ => Err(format!("{name}(...) has no value here")),
        },
        // A value behind a pointer.
        Expr::List(values) => match values.as_slice() {
            [value] => number(value),
            _ => Err("a list is no number".to_owned()),
        },
        Expr::Ellipsis => Err("`...` has no value here".to_owned()),
        Expr::Text(..) => Err("a text is no number".to_owned()),
        Expr::Address(_) | Expr::Struct(_) | Expr::Assign(..) => Err("this is no number".to_owned()),
    }
}

fn size_of_value(of: &Expr) -> Result<i64, String> {
    match of {
        Expr::Text(bytes, _) => Ok(bytes.len() as i64),
        Expr::Int(_) => Ok(4),
        _ => Err("sizeof of this has no value here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sums_of_flags_have_values() {
        assert_eq!(value("SOL_SOCKET"), Some(1));
        assert_eq!(value("ECONNRESET"), Some(104));
        assert_eq!(value("TCPI_OPT_ECN"), Some(8));
        assert_eq!(value("EWOULDBLOCK"), value("EAGAIN"), "two names of one");
        assert_eq!(value("SO_NOTHING"), None);
        let flags = Expr::Or(
            Box::new(Expr::Word("O_RDWR".to_owned())),
            Box::new(Expr::Word("O_NONBLOCK".to_owned())),
        );
        assert_eq!(number(&flags), Ok(0o4002));
        assert!(number(&Expr::Ellipsis).is_err(), "any value is none");
    }
}
