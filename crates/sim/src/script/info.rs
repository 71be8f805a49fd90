//! Names of `struct tcp_info` in assertions.

use super::symbols;

/// A field: where it is and how many bytes it has.
type Place = (usize, usize);

/// Fields that the host fills in (`crate::posix::info`), so that they may be
/// judged; of others it is said that they are not known.
const FIELDS: &[(&str, Place)] = &[
    ("tcpi_state", (0, 1)),
    ("tcpi_rto", (8, 4)),
    ("tcpi_snd_mss", (16, 4)),
    ("tcpi_rcv_mss", (20, 4)),
    ("tcpi_unacked", (24, 4)),
    ("tcpi_pmtu", (60, 4)),
    ("tcpi_rtt", (68, 4)),
    ("tcpi_snd_ssthresh", (76, 4)),
    ("tcpi_snd_cwnd", (80, 4)),
    ("tcpi_advmss", (84, 4)),
    ("tcpi_total_retrans", (100, 4)),
    ("tcpi_notsent_bytes", (144, 4)),
    ("tcpi_snd_wnd", (228, 4)),
    ("tcpi_rcv_wnd", (232, 4)),
    ("tcpi_total_rto", (240, 2)),
];

/// What a name in an assertion stands for.
pub(super) fn value(info: Option<&[u8]>, name: &str) -> Option<i64> {
    let Some((_, (at, len))) = FIELDS.iter().find(|(field, _)| *field == name) else {
        return symbols::value(name);
    };
    let bytes = info?.get(*at..at + len)?;
    // The host writes them as they lie in memory.
    match *bytes {
        [byte] => Some(byte.into()),
        [a, b] => Some(u16::from_ne_bytes([a, b]).into()),
        [a, b, c, d] => Some(u32::from_ne_bytes([a, b, c, d]).into()),
        _ => None,
    }
}
