//! Names of `struct tcp_info` in assertions.

use super::symbols;

/// A field: where it is and how many bytes it has.
type Place = (usize, usize);

/// Fields that the host fills in (`crate::posix::info`), so that they may be
/// judged; of others it is said that they are not known.
const FIELDS: &[(&str, Place)] = &[
    ("tcpi_state", (0, 1)),
    ("tcpi_retransmits", (2, 1)),
    ("tcpi_backoff", (4, 1)),
    ("tcpi_options", (5, 1)),
    ("tcpi_rto", (8, 4)),
    ("tcpi_snd_mss", (16, 4)),
    ("tcpi_rcv_mss", (20, 4)),
    ("tcpi_unacked", (24, 4)),
    ("tcpi_sacked", (28, 4)),
    ("tcpi_lost", (32, 4)),
    ("tcpi_retrans", (36, 4)),
    ("tcpi_last_data_sent", (44, 4)),
    ("tcpi_last_data_recv", (52, 4)),
    ("tcpi_last_ack_recv", (56, 4)),
    ("tcpi_pmtu", (60, 4)),
    ("tcpi_rtt", (68, 4)),
    ("tcpi_rttvar", (72, 4)),
    ("tcpi_snd_ssthresh", (76, 4)),
    ("tcpi_snd_cwnd", (80, 4)),
    ("tcpi_advmss", (84, 4)),
    ("tcpi_total_retrans", (100, 4)),
    ("tcpi_bytes_acked", (120, 8)),
    ("tcpi_bytes_received", (128, 8)),
    ("tcpi_notsent_bytes", (144, 4)),
    ("tcpi_min_rtt", (148, 4)),
    ("tcpi_delivered", (192, 4)),
    ("tcpi_delivered_ce", (196, 4)),
    ("tcpi_dsack_dups", (216, 4)),
    ("tcpi_reord_seen", (220, 4)),
    ("tcpi_snd_wnd", (228, 4)),
    ("tcpi_rcv_wnd", (232, 4)),
    ("tcpi_total_rto", (240, 2)),
];

/// What a name in an assertion stands for.
pub(super) fn value(info: Option<&[u8]>, name: &str) -> Option<i64> {
    let Some((_, (at, len))) = FIELDS.iter().find(|(field, _)| *field == name) else {
        return symbols::value(name);
    };
    // The host writes them as they lie in memory.
    let mut wide = [0; 8];
    let bytes = info?.get(*at..at + len)?;
    if cfg!(target_endian = "little") {
        wide[..*len].copy_from_slice(bytes);
    } else {
        wide[8 - len..].copy_from_slice(bytes);
    }
    Some(i64::from_ne_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_at_their_places_and_others_are_unknown() {
        let mut info = vec![0; crate::posix::TCP_INFO_LEN];
        info[0] = 200;
        info[8..12].copy_from_slice(&4_000_000_000_u32.to_ne_bytes());
        info[120..128].copy_from_slice(&(1_u64 << 40).to_ne_bytes());
        info[240..242].copy_from_slice(&60_000_u16.to_ne_bytes());
        let read = |name: &str| value(Some(&info), name);
        assert_eq!(read("tcpi_state"), Some(200), "not negative");
        assert_eq!(read("tcpi_rto"), Some(4_000_000_000));
        assert_eq!(read("tcpi_bytes_acked"), Some(1 << 40));
        assert_eq!(read("tcpi_total_rto"), Some(60_000));
        assert_eq!(read("tcpi_busy_time"), None, "nobody fills it in");
        assert_eq!(value(None, "tcpi_rto"), None, "there is no connection");
        assert_eq!(value(None, "TCP_CA_Loss"), Some(4), "a number with a name");
    }
}
