//! What a script's `sysctl` lines mean for the host that it runs on.
//!
//! Linux' and FreeBSD's names are mapped to the knobs of [`crate::posix::Knobs`].
//! A name that is not in the table is reported: the script ran without it.

#[cfg(test)]
mod tests;

/// A knob and its value, in TOML.
pub(super) type Setting = (&'static str, String);

/// What a value of a sysctl means.
type Meaning = fn(&str) -> Option<Vec<Setting>>;

/// What a sysctl is to us.
#[derive(Clone, Copy)]
enum Means {
    /// It sets knobs.
    Sets(Meaning),
    /// The host behaves as with one of these values, and can't do otherwise.
    Always(&'static [&'static str]),
    /// Nothing that can be seen in a packet depends on it here.
    Nothing,
}

/// What a command asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Wishes {
    /// Knobs to be set, each with the sysctl that it comes from.
    pub(super) settings: Vec<(Setting, String)>,
    /// Sysctls that nothing here stands for.
    pub(super) unmapped: Vec<String>,
    /// Commands that were passed over.
    pub(super) ignored: Vec<String>,
    /// Whether FreeBSD's names were used.
    pub(super) freebsd: bool,
}

/// What the `defaults.sh` of Linux' own scripts sets.
const LINUX_DEFAULTS: &[&str] = &[
    "net.ipv4.tcp_rmem=4096 540000 15728640",
    "net.ipv4.tcp_wmem=4096 262144 4194304",
    "net.ipv4.tcp_timestamps=1",
    "net.ipv4.tcp_syn_retries=5",
    "net.ipv4.tcp_sack=1",
    "net.ipv4.tcp_congestion_control=cubic",
    "net.ipv4.tcp_ecn=0",
    "net.ipv4.tcp_slow_start_after_idle=0",
];

/// Names without `net.ipv4.` and `net.inet.`.
const TABLE: &[(&str, Means)] = &[
    ("tcp_timestamps", Means::Sets(|v| flag("timestamps", v))),
    ("tcp_sack", Means::Sets(|v| flag("sack", v))),
    ("tcp_window_scaling", Means::Sets(|v| flag("window_scale", v))),
    ("tcp_rmem", Means::Sets(linux_receive_memory)),
    (
        "tcp_wmem",
        Means::Sets(|v| number("sndbuf", v.split_whitespace().nth(1)?)),
    ),
    ("tcp_syn_retries", Means::Sets(|v| number("syn_retries", v))),
    ("tcp_synack_retries", Means::Sets(|v| number("syn_retries", v))),
    ("tcp_retries2", Means::Sets(|v| number("data_retries", v))),
    ("tcp_congestion_control", Means::Sets(congestion)),
    ("tcp_ecn", Means::Sets(|v| ecn(v, "5"))),
    ("tcp_ecn_option", Means::Always(&["0"])),
    ("tcp_ecn_fallback", Means::Always(&["1"])),
    (
        "tcp_fin_timeout",
        Means::Sets(|v| scaled("fin_wait_2_ms", v, 1000, 1)),
    ),
    ("tcp_initcwnd", Means::Sets(|v| number("initial_window", v))),
    (
        "tcp_rto_min_us",
        Means::Sets(|v| scaled("min_rto_ms", v, 1, 1000)),
    ),
    ("tcp_rto_max_ms", Means::Sets(|v| number("max_rto_ms", v))),
    (
        "tcp_keepalive_time",
        Means::Sets(|v| scaled("keepalive_ms", v, 1000, 1)),
    ),
    (
        "tcp_keepalive_intvl",
        Means::Sets(|v| scaled("keepalive_interval_ms", v, 1000, 1)),
    ),
    (
        "tcp_keepalive_probes",
        Means::Sets(|v| number("keepalive_probes", v)),
    ),
    ("tcp_fastopen", Means::Sets(|v| number("fast_open", v))),
    ("tcp_rfc1337", Means::Sets(|v| flag("rfc1337", v))),
    ("tcp_dsack", Means::Always(&["1"])),
    ("tcp_frto", Means::Always(&["1", "2"])),
    ("tcp_fack", Means::Nothing),
    ("tcp_recovery", Means::Always(&["1"])),
    ("tcp_reordering", Means::Always(&["3"])),
    ("tcp_early_retrans", Means::Always(&["3", "4"])),
    (
        "tcp_slow_start_after_idle",
        Means::Sets(|v| flag("slow_start_after_idle", v)),
    ),
    ("tcp_abort_on_overflow", Means::Always(&["0"])),
    ("tcp_mtu_probing", Means::Always(&["0"])),
    ("tcp_limit_output_bytes", Means::Nothing),
    ("tcp_syncookies", Means::Nothing),
    ("tcp_no_metrics_save", Means::Nothing),
    ("tcp_pacing_ss_ratio", Means::Nothing),
    ("tcp_pacing_ca_ratio", Means::Nothing),
    ("tcp_notsent_lowat", Means::Nothing),
    ("tcp_tso_win_divisor", Means::Nothing),
    ("tcp_min_tso_segs", Means::Nothing),
    ("tcp_tso_rtt_log", Means::Nothing),
    ("tcp_autocorking", Means::Always(&["0"])),
    ("tcp_moderate_rcvbuf", Means::Nothing),
    ("tcp_max_syn_backlog", Means::Nothing),
    ("tcp_fastopen_key", Means::Nothing),
    ("tcp_fastopen_blackhole_timeout_sec", Means::Nothing),
    ("tcp.rfc1323", Means::Sets(freebsd_extensions)),
    ("tcp.sack.enable", Means::Sets(|v| flag("sack", v))),
    ("tcp.ecn.enable", Means::Sets(|v| ecn(v, "4"))),
    ("tcp.ecn.maxretries", Means::Always(&["0"])),
    (
        "tcp.initcwnd_segments",
        Means::Sets(|v| number("initial_window", v)),
    ),
    ("tcp.recvspace", Means::Sets(|v| number("rcvbuf", v))),
    ("tcp.sendspace", Means::Sets(|v| number("sndbuf", v))),
    (
        "tcp.delayed_ack",
        Means::Sets(|v| flag("quick_ack", if v == "0" { "1" } else { "0" })),
    ),
    ("tcp.delacktime", Means::Sets(|v| number("delayed_ack_ms", v))),
    ("tcp.msl", Means::Sets(|v| scaled("time_wait_ms", v, 2, 1))),
    (
        "tcp.finwait2_timeout",
        Means::Sets(|v| number("fin_wait_2_ms", v)),
    ),
    ("tcp.rexmit_min", Means::Sets(|v| number("min_rto_ms", v))),
    ("tcp.rexmit_initial", Means::Sets(|v| number("initial_rto_ms", v))),
    ("tcp.mssdflt", Means::Always(&["536"])),
    ("tcp.v6mssdflt", Means::Always(&["1220"])),
    ("tcp.cc.algorithm", Means::Sets(congestion)),
    ("tcp.keepidle", Means::Sets(|v| number("keepalive_ms", v))),
    (
        "tcp.keepintvl",
        Means::Sets(|v| number("keepalive_interval_ms", v)),
    ),
    ("tcp.keepcnt", Means::Sets(|v| number("keepalive_probes", v))),
    ("tcp.insecure_rst", Means::Always(&["0"])),
    ("tcp.insecure_syn", Means::Always(&["0"])),
    ("tcp.insecure_ack", Means::Always(&["0"])),
    ("tcp.blackhole", Means::Always(&["0"])),
    ("tcp.drop_synfin", Means::Always(&["0"])),
    ("tcp.path_mtu_discovery", Means::Always(&["1"])),
    ("tcp.rfc3042", Means::Always(&["1"])),
    ("tcp.rfc3390", Means::Nothing),
    ("tcp.rfc3465", Means::Nothing),
    ("tcp.rfc6675_pipe", Means::Nothing),
    ("tcp.tso", Means::Nothing),
    ("tcp.syncookies", Means::Nothing),
    ("tcp.syncookies_only", Means::Always(&["0"])),
    ("tcp.icmp_may_rst", Means::Always(&["1"])),
    ("tcp.hostcache.purge", Means::Nothing),
    ("tcp.hostcache.purgenow", Means::Nothing),
    ("tcp.hostcache.enable", Means::Nothing),
    ("tcp.rexmit_drop_options", Means::Always(&["0"])),
    ("kern.ipc.maxsockbuf", Means::Nothing),
    ("tcp.recvbuf_auto", Means::Nothing),
    ("tcp.sendbuf_auto", Means::Nothing),
    ("tcp.nolocaltimewait", Means::Nothing),
    ("tcp.ts_offset_per_conn", Means::Nothing),
    ("tcp.minmss", Means::Nothing),
    ("tcp.functions_default", Means::Always(&["freebsd"])),
    (
        "tcp.fastopen.server_enable",
        Means::Sets(|v| number("fast_open", if v == "0" { "1" } else { "3" })),
    ),
    ("tcp.fastopen.client_enable", Means::Always(&["1"])),
    ("tcp.tolerate_missing_ts", Means::Always(&["0", "1"])),
];

/// What a command asks for; it may be many lines.
pub(super) fn wishes(command: &str) -> Wishes {
    let mut wishes = Wishes::default();
    for line in command.split(['\n', ';']).flat_map(|line| line.split("&&")) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = words(line).into_iter();
        let Some(program) = words.next() else { continue };
        match program.rsplit('/').next().unwrap_or_default() {
            "sysctl" | "set_sysctls.py" => {
                let assignments = words.filter(|word| !word.starts_with('-'));
                for assignment in assignments.take_while(|word| !word.starts_with('>')) {
                    wishes.sysctl(&assignment);
                }
            }
            "defaults.sh" => LINUX_DEFAULTS
                .iter()
                .for_each(|assignment| wishes.sysctl(assignment)),
            _ => wishes.ignored.push(line.to_owned()),
        }
    }
    wishes
}

impl Wishes {
    /// `name=value`, or a name alone, which only asks.
    fn sysctl(&mut self, assignment: &str) {
        let Some((name, value)) = assignment.split_once('=') else {
            return;
        };
        let name = name.trim().trim_start_matches("/proc/sys/").replace('/', ".");
        let value = value.trim();
        self.freebsd |= name.starts_with("net.inet.");
        let short = name
            .trim_start_matches("net.ipv4.")
            .trim_start_matches("net.inet.");
        let means = TABLE
            .iter()
            .find(|(known, _)| *known == short)
            .map(|(_, means)| *means);
        let settings = match means {
            Some(Means::Sets(meaning)) => meaning(value),
            Some(Means::Always(values)) if values.contains(&value) => Some(Vec::new()),
            Some(Means::Nothing) => Some(Vec::new()),
            Some(Means::Always(_)) | None => None,
        };
        let whole = format!("{name}={value}");
        match settings {
            Some(settings) => {
                self.settings
                    .extend(settings.into_iter().map(|setting| (setting, whole.clone())));
            }
            None => self.unmapped.push(whole),
        }
    }
}

/// The words of a line, with quotes taken off and `$((1024*2))` worked out.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some((inner, after)) = rest.strip_prefix("$((").and_then(|inner| inner.split_once("))")) {
            word.push_str(&product(inner).map_or_else(|| inner.to_owned(), |n| n.to_string()));
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(core::mem::take(&mut word));
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `15*1024*1024`
fn product(text: &str) -> Option<u64> {
    text.split('*')
        .map(|factor| factor.trim().parse::<u64>().ok())
        .try_fold(1_u64, |product, factor| product.checked_mul(factor?))
}

fn flag(knob: &'static str, value: &str) -> Option<Vec<Setting>> {
    let value: i64 = value.parse().ok()?;
    Some(vec![(knob, (value != 0).to_string())])
}

fn number(knob: &'static str, value: &str) -> Option<Vec<Setting>> {
    scaled(knob, value, 1, 1)
}

fn scaled(knob: &'static str, value: &str, times: u64, by: u64) -> Option<Vec<Setting>> {
    let value = match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => value.parse().ok()?,
    };
    Some(vec![(knob, (value.checked_mul(times)? / by).to_string())])
}

/// Least, usual and most bytes. Linux offers half of it as a window, and scales for the most.
fn linux_receive_memory(value: &str) -> Option<Vec<Setting>> {
    let mut sizes = value.split_whitespace().map(str::parse::<u64>);
    let (_, usual, most) = (sizes.next()?.ok()?, sizes.next()?.ok()?, sizes.next()?.ok()?);
    let mut shift = 0;
    while shift < 14 && most >> shift > 65_535 {
        shift += 1;
    }
    Some(vec![
        ("rcvbuf", (usual / 2).to_string()),
        ("window_scale", shift.to_string()),
    ])
}

/// Timestamps and window scale; 2 is the scale alone, 3 the timestamps. FreeBSD scales
/// for the most that a buffer may grow to, by 6.
fn freebsd_extensions(value: &str) -> Option<Vec<Setting>> {
    let (scale, timestamps) = match value {
        "0" => ("false", false),
        "1" => ("6", true),
        "2" => ("6", false),
        "3" => ("false", true),
        _ => return None,
    };
    Some(vec![
        ("window_scale", scale.to_owned()),
        ("timestamps", timestamps.to_string()),
    ])
}

fn congestion(value: &str) -> Option<Vec<Setting>> {
    let name = match value {
        "reno" | "newreno" => "newreno",
        "cubic" | "bbr" => value,
        _ => return None,
    };
    Some(vec![("congestion", format!("\"{name}\""))])
}

/// 0: never; 1: asked for and agreed to; 2: agreed to; 3: Accurate ECN is asked for,
/// and either agreed to; `passive`, which the systems number differently: either is agreed to.
fn ecn(value: &str, passive: &str) -> Option<Vec<Setting>> {
    let mode = match value {
        "0" => "off",
        "1" => "on",
        "2" => "passive",
        "3" => "accurate",
        _ if value == passive => "accurate-passive",
        _ => return None,
    };
    Some(vec![("ecn", format!("\"{mode}\""))])
}
