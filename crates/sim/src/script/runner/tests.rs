use crate::script::{self, Failure, Outcome, Verdict};

/// A connection that a peer has opened, as file 4.
const ACCEPTED: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 65535 <mss 1000,sackOK>
+0 > S. 0:0(0) ack 1 <...>
+.1 < . 1:1(0) ack 1 win 65535
+0 accept(3, ..., ...) = 4
";

fn play(text: &str) -> Outcome {
    script::run(&script::parse(text).unwrap_or_else(|error| panic!("{error}")))
}

/// After the connection is there.
fn then(text: &str) -> Outcome {
    play(&format!("{ACCEPTED}{text}"))
}

fn failure(outcome: Outcome) -> Failure {
    match outcome.verdict {
        Verdict::Fail(failure) => *failure,
        other => panic!("it should have failed: {other:?}"),
    }
}

fn passes(text: &str) {
    let outcome = then(text);
    assert!(outcome.passed(), "{text}\n{outcome:?}");
}

#[test]
fn a_connection_is_played_from_open_to_close() {
    passes(
        "+0 setsockopt(4, IPPROTO_TCP, TCP_NODELAY, [1], 4) = 0
         +0 < P. 1:101(100) ack 1 win 65535
         +0 > . 1:1(0) ack 101
         +0 read(4, ..., 1000) = 100
         +0 write(4, ..., 2500) = 2500
         +0 > . 1:1001(1000) ack 101
         +0 > . 1001:2001(1000) ack 101
         +0 > P. 2001:2501(500) ack 101
         +.1 < . 101:101(0) ack 2501 win 65535
         +0 close(4) = 0
         +0 > F. 2501:2501(0) ack 101
         +.1 < F. 101:101(0) ack 2502 win 65535
         +0 > . 2502:2502(0) ack 102",
    );
}

#[test]
fn what_differs_is_named_with_both_packets() {
    let cases = [
        (
            "+0 write(4, ..., 10) = 10\n+0 > . 1:11(10) ack 1",
            "flags differs",
        ),
        (
            "+0 write(4, ..., 10) = 10\n+0 > P. 2:12(10) ack 1",
            "sequence number differs",
        ),
        (
            "+0 write(4, ..., 10) = 10\n+0 > P. 1:10(9) ack 1",
            "length differs",
        ),
        ("+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 2", "ack differs"),
        (
            "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1 win 1",
            "win differs",
        ),
        (
            "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1 <nop,nop,nop,nop>",
            "options differs",
        ),
        (
            "+0 write(4, ..., 10) = 10\n+0 > [ce] P. 1:11(10) ack 1",
            "ECN field differs",
        ),
        (
            "+0 write(4, ..., 10) = 10\n+0 > [ttl 9] P. 1:11(10) ack 1",
            "ttl differs",
        ),
        (
            "+0 write(4, ..., 10) = 10\n+0 > F. 1:1(0) ack 2",
            "flags, length, ack differ",
        ),
    ];
    for (text, what) in cases {
        let failure = failure(then(text));
        assert_eq!(failure.what, format!("another packet was sent: {what}"), "{text}");
        assert_eq!(failure.line, 9, "{text}");
        assert!(
            failure.seen.is_some() && failure.expected.is_some(),
            "{failure:?}"
        );
    }
    let other = "+0 write(4, ..., 10) = 10
                 +0 < 7 > 8080 . 1:1(0) ack 1 win 9
                 +0 > 8080 > 7 R 1:1(0)";
    let failure = failure(then(other));
    assert_eq!(
        failure.what, "another packet was sent: connection differs",
        "not the stranger's"
    );
}

#[test]
fn a_packet_that_comes_late_or_never_fails() {
    let failure_of = |text: &str| failure(then(text));
    let never = failure_of("+0 > F. 1:1(0) ack 1");
    assert_eq!(never.what, "no packet was sent");
    // The first time-out is a second after the SYN-ACK was acknowledged, at the earliest 200 ms.
    let late = "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n";
    assert!(
        then(&format!("{late}+.2~+.5 > P. 1:11(10) ack 1")).passed(),
        "in the range"
    );
    assert!(
        then(&format!("{late}* > P. 1:11(10) ack 1")).passed(),
        "at any time"
    );
    let early = failure_of(&format!("{late}+9 > P. 1:11(10) ack 1"));
    assert!(early.what.starts_with("expected at 9.1"), "{early:?}");
    let never = failure_of(&format!("{late}+.01 > P. 1:11(10) ack 1"));
    assert_eq!(never.what, "no packet was sent");
}

#[test]
fn results_and_errors_of_calls_are_compared() {
    let cases = [
        (
            "+0 read(4, ..., 10) = 5",
            "read waits where it is to come back at once",
        ),
        (
            "+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n+0 read(4, ..., 10) = 5",
            "read is to give 5, gave -1 EAGAIN",
        ),
        (
            "+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n+0 read(4, ..., 10) = -1 EPIPE (x)",
            "read is to give -1 EPIPE, gave -1 EAGAIN",
        ),
        ("+0 write(4, ..., 10) = 9", "write is to give 9, gave 10"),
        (
            "+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [ECONNRESET], [4]) = 0",
            "the value is to be 104, is 0",
        ),
        (
            "+0 < P. 1:4(3) ack 1 win 9\n+0 read(4, \"abc\", 3) = 3",
            "read \"\\0\\u{1}\\u{2}\", expected \"abc\"",
        ),
        (
            "+0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN}], 1, 0) = 1",
            "revents is to be 0x1, is 0x4",
        ),
        ("+0 close(9) = 0", "close is to give 0, gave -1 EBADF"),
    ];
    for (text, what) in cases {
        assert_eq!(failure(then(text)).what, what, "{text}");
    }
}

#[test]
fn a_call_that_waits_comes_back_in_time() {
    let arrives = "+.2 < P. 1:11(10) ack 1 win 65535\n+0 > . 1:1(0) ack 11";
    passes(&format!("+0...0.2 read(4, ..., 100) = 10\n{arrives}"));
    let late = failure(then(&format!("+0...0.1 read(4, ..., 100) = 10\n{arrives}")));
    assert!(late.what.contains("at 0.200000, came back at 0.3"), "{late:?}");
    let never = failure(then("+0...0.1 read(4, ..., 100) = 10"));
    assert_eq!(never.what, "read has not come back by 0.200000");
    let early = failure(then(&format!("+0...0.3 read(4, ..., 100) = 10\n{arrives}")));
    assert!(early.what.contains("came back at 0.3"), "{early:?}");
}

#[test]
fn what_cannot_be_judged_does_not_pass() {
    for (text, why) in [
        ("+0 > udp (10)", "udp is not TCP's business"),
        ("+0 < sctp: ABORT", "sctp is not TCP's business"),
        (
            "+0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 5",
            "a socket that is not TCP's",
        ),
        (
            "+0 sendfile(4, 5, [0], 5) = 5",
            "the call sendfile is not known here",
        ),
        (
            "+0 %{ assert tcpi_busy_time == 0 }%",
            "nobody here knows tcpi_busy_time",
        ),
        ("+0 %{ import os }%", "is more than an assertion"),
    ] {
        match then(text).verdict {
            Verdict::NotApplicable(reason) => assert!(reason.contains(why), "{text}: {reason}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let outcome = play("--ip_version=ipv5\n0 close(3) = 0");
    assert!(
        matches!(outcome.verdict, Verdict::NotApplicable(_)),
        "{outcome:?}"
    );
}

#[test]
fn assertions_see_the_connection() {
    passes("+0 %{ assert tcpi_state == TCP_ESTABLISHED and tcpi_snd_cwnd == 10, tcpi_snd_cwnd }%");
    let failure = failure(then("+0 %{ assert tcpi_snd_cwnd == 3 }%"));
    assert_eq!(
        failure.what,
        "does not hold: assert tcpi_snd_cwnd == 3 (tcpi_snd_cwnd is 10)"
    );
}

#[test]
fn commands_and_options_set_knobs() {
    let syn = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (x)
";
    let cases = [
        (
            "`sysctl -q net.ipv4.tcp_timestamps=0 net.ipv4.tcp_sack=0`\n",
            "<mss 1460,nop,wscale 3>",
        ),
        (
            "0 `sysctl net.inet.tcp.rfc1323=1`\n",
            "<mss 1460,nop,wscale 6,sackOK,TS val 1 ecr 0>",
        ),
        (
            "--mtu=576\n--knob_timestamps=false\n",
            "<mss 536,nop,nop,sackOK,nop,wscale 3>",
        ),
    ];
    for (head, options) in cases {
        let outcome = play(&format!("{head}{syn}+0 > S 0:0(0) {options}"));
        assert!(outcome.passed(), "{head}: {outcome:?}");
    }
    let outcome = play(&format!(
        "`sysctl -q net.ipv4.tcp_odd=1`\n{syn}+0 > S 0:0(0) <...>"
    ));
    assert!(outcome.passed(), "{outcome:?}");
    assert_eq!(outcome.notes, ["ran with unmapped sysctl net.ipv4.tcp_odd=1"]);
    let outcome = play(&format!("--knob_odd=1\n{syn}"));
    assert!(
        matches!(&outcome.verdict, Verdict::NotApplicable(why) if why.contains("odd")),
        "{outcome:?}"
    );
}

#[test]
fn timestamps_ports_and_families_are_mapped() {
    for version in ["ipv4", "ipv6", "ipv4-mapped-ipv6"] {
        let outcome = play(&format!(
            "--ip_version={version}
             0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
             +0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
             +0 connect(3, ..., ...) = -1 EINPROGRESS (x)
             +0 > S 0:0(0) <mss ...,sackOK,TS val 100 ecr 0,nop,wscale ...>
             +.1 < S. 500:500(0) ack 1 win 1000 <mss 1000,TS val 700 ecr 100>
             +0 > . 1:1(0) ack 501 <nop,nop,TS val 200 ecr 700>
             +0 write(3, ..., 10) = 10
             +0 > P. 1:11(10) ack 501 <nop,nop,TS val 200 ecr 700>
             +0 < . 501:501(0) ack 11 win 1000 <nop,nop,TS val 701 ecr 200>"
        ));
        assert!(outcome.passed(), "{version}: {outcome:?}");
    }
    let ticks = |value: u32| {
        play(&format!(
            "--tcp_ts_tick_usecs=1000
             0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
             +0 bind(3, ..., ...) = 0
             +0 listen(3, 1) = 0
             +0 < 1234 > 8080 S 0:0(0) win 9 <mss 1000,TS val 1 ecr 0>
             +0 > 8080 > 1234 S. 0:0(0) ack 1 <mss 1460,nop,nop,TS val 50 ecr 1>
             +1 < 1234 > 8080 F. 1:1(0) ack 1 win 9 <nop,nop,TS val 2 ecr 50>
             +0 > 8080 > 1234 . 1:1(0) ack 2 <nop,nop,TS val {value} ecr 2>"
        ))
    };
    assert!(
        ticks(1050).passed(),
        "a second is a thousand ticks: {:?}",
        ticks(1050)
    );
    assert!(!ticks(50).passed(), "and not none");
}

#[test]
fn nothing_may_be_left_over_where_a_script_says_so() {
    let text = format!("{ACCEPTED}+0 write(4, ..., 10) = 10");
    assert!(play(&text).passed(), "otherwise it may");
    let failure = failure(play(&format!("--strict\n{text}")));
    assert_eq!(failure.what, "a packet was sent that no line expects");
    assert!(
        failure
            .seen
            .is_some_and(|seen| seen.contains("P. 1:11(10) ack 1"))
    );
}

#[test]
fn what_happened_is_remembered() {
    let outcome = then("+.1 < P. 1:11(10) ack 1 win 9\n+0 > . 1:1(0) ack 11\n+0 read(4, ..., 100) = 10");
    let last: Vec<&str> = outcome.trace.iter().rev().take(3).map(String::as_str).collect();
    assert_eq!(
        last,
        [
            "0.200000 read(...) = 10",
            "0.200000 > . 1:1(0) ack 11 win 65535",
            "0.200000 < P. 1:11(10) ack 1 win 9",
        ]
    );
}

#[test]
fn icmp_reaches_the_connection_that_it_is_about() {
    passes(
        "+0 write(4, ..., 1000) = 1000
         +0 > P. 1:1001(1000) ack 1
         +0 < icmp unreachable port_unreachable [1:1001(1000)]
         +0 < . 1:1(0) ack 1001 win 65535",
    );
    let unknown = then("+0 < icmp weather rain");
    assert!(
        matches!(unknown.verdict, Verdict::NotApplicable(_)),
        "{unknown:?}"
    );
}
