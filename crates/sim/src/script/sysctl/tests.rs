use super::wishes;

fn settings(command: &str) -> Vec<String> {
    let wishes = wishes(command);
    assert_eq!(wishes.unmapped, Vec::<String>::new(), "{command}");
    wishes
        .settings
        .iter()
        .map(|((knob, value), _)| format!("{knob}={value}"))
        .collect()
}

#[test]
fn sysctls_of_both_systems_become_knobs() {
    let cases: [(&str, &[&str]); 9] = [
        ("sysctl -q net.ipv4.tcp_timestamps=0", &["timestamps=false"]),
        (
            "sysctl -q net.ipv4.tcp_rmem=\"4096 540000 $((15*1024*1024))\"",
            &["rcvbuf=270000", "window_scale=8"],
        ),
        (
            "./set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0 /proc/sys/net/ipv4/tcp_fin_timeout=5",
            &["sack=false", "fin_wait_2_ms=5000"],
        ),
        ("sysctl -w net.inet.tcp.ecn.enable=1", &["ecn=\"on\""]),
        (
            "sysctl net.inet.tcp.msl=100 && sysctl net.inet.tcp.initcwnd_segments=4",
            &["time_wait_ms=200", "initial_window=4"],
        ),
        (
            "sysctl net.inet.tcp.rfc1323=0",
            &["window_scale=false", "timestamps=false"],
        ),
        (
            "sysctl net.ipv4.tcp_congestion_control=reno > /dev/null",
            &["congestion=\"newreno\""],
        ),
        ("sysctl -n net.ipv4.tcp_ecn", &[]),
        ("sysctl net.inet.tcp.insecure_rst=0 # as it is", &[]),
    ];
    for (command, knobs) in cases {
        assert_eq!(settings(command), knobs, "{command}");
    }
    assert!(
        settings("./defaults.sh").contains(&"sndbuf=262144".to_owned()),
        "Linux' own"
    );
}

#[test]
fn what_has_no_meaning_here_is_named() {
    let wishes =
        wishes("sysctl -w net.inet.tcp.insecure_rst=1 net.ipv4.tcp_odd=1\ntc qdisc add dev tun0 root pfifo");
    assert_eq!(
        wishes.unmapped,
        ["net.inet.tcp.insecure_rst=1", "net.ipv4.tcp_odd=1"]
    );
    assert_eq!(wishes.ignored, ["tc qdisc add dev tun0 root pfifo"]);
    assert!(wishes.freebsd, "its names were used");
}
