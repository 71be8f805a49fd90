use super::parse;
use crate::script::ast::*;

fn only(text: &str) -> Event {
    let mut script = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(script.events.len(), 1, "one event in {text}");
    script.events.remove(0)
}

fn tcp(text: &str) -> (PacketSpec, TcpSpec) {
    match only(text).action {
        Action::Packet(packet) => match packet.body.clone() {
            Body::Tcp(tcp) => (packet, tcp),
            other => panic!("{text}: {other:?}"),
        },
        other => panic!("{text}: {other:?}"),
    }
}

fn called(text: &str) -> Call {
    match only(text).action {
        Action::Call(call) => call,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn times_in_all_their_forms() {
    let cases = [
        ("0", When::Absolute(0)),
        ("1.5", When::Absolute(1_500_000)),
        ("+0", When::Relative(0)),
        ("+.002", When::Relative(2_000)),
        ("0.1~0.25", When::AbsoluteRange(100_000, 250_000)),
        ("+0~+0.5", When::RelativeRange(0, 500_000)),
        ("*", When::Any),
    ];
    for (text, when) in cases {
        assert_eq!(only(&format!("{text} > . 1:1(0) ack 1")).when, when, "{text}");
    }
    let call = "0.100...0.200 accept(3, ..., ...) = 4";
    assert_eq!(only(call).when, When::Absolute(100_000), "when it begins");
    assert_eq!(called(call).ends, Some(200_000), "when it comes back");
    assert_eq!(
        called("+0...2 read(4, ..., 10) = 10").ends,
        Some(2_000_000),
        "whole seconds"
    );
    for wrong in [
        "0.2~0.1 > . 1:1(0) ack 1",
        "+1~2 > . 1:1(0) ack 1",
        "* close(3) = 0",
        "-1 close(3) = 0",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_packet_has_flags_range_ack_window_and_options() {
    let (packet, segment) = tcp(
        "+0 > [ect0] 1234 > 8080 P. 1:1001(1000) ack 2 win 229 urg 5 <nop,nop,TS val 7 ecr ...,sack 1:2 3:4>",
    );
    assert_eq!(packet.direction, Direction::Outbound);
    assert_eq!(packet.ip.ecn, Some(EcnSpec::Exactly(2)));
    assert_eq!(packet.ports, Some((1234, 8080)));
    let expected = TcpSpec {
        flags: TcpFlags::PSH.with(TcpFlags::ACK),
        seq: Some(1),
        len: 1000,
        ack: AckSpec::Exactly(2),
        win: Some(229),
        urg: Some(5),
        options: Some(vec![
            TcpOptionSpec::Nop,
            TcpOptionSpec::Nop,
            TcpOptionSpec::Timestamps(Some(7), None),
            TcpOptionSpec::Sack(vec![(1, 2), (3, 4)]),
        ]),
    };
    assert_eq!(segment, expected);
    assert_eq!(
        packet.to_string(),
        "> [ect0] 1234 > 8080 P. 1:1001(1000) ack 2 win 229 urg 5 <nop,nop,TS val 7 ecr ...,sack 1:2 3:4>",
        "and is written again as it was read"
    );
}

#[test]
fn flags_in_both_dialects() {
    let cases = [
        ("S", TcpFlags::SYN.0),
        (".", TcpFlags::ACK.0),
        ("-", 0),
        ("FPU.", 0x39),
        ("SEWA", 0x1c2),
        ("SW.", 0x92),
        ("P5.", 0x158),
        ("P.5", 0x158),
        ("5.", 0x150),
        ("F2.", 0x91),
        ("R.", 0x14),
    ];
    for (text, bits) in cases {
        let (_, segment) = tcp(&format!("+0 >  {text} 1:1(0) win 5"));
        assert_eq!(segment.flags.0, bits, "{text}");
    }
    assert!(parse("+0 > X 1:1(0)").is_err(), "no such flag");
    assert!(parse("+0 > --. 1:1(0)").is_err(), "- stands alone");
}

#[test]
fn options_in_all_their_forms() {
    let options = |text: &str| tcp(&format!("+0 > S 0:0(0) win 1 {text}")).1.options;
    assert_eq!(options("<...>"), None, "any");
    assert_eq!(options(""), Some(Vec::new()), "none");
    assert_eq!(
        options("<mss 1460, sackOK , eol,eol,wscale 7>"),
        Some(vec![
            TcpOptionSpec::Mss(Some(1460)),
            TcpOptionSpec::SackPermitted,
            TcpOptionSpec::Eol,
            TcpOptionSpec::Eol,
            TcpOptionSpec::WindowScale(Some(7)),
        ])
    );
    let open = |experimental, cookie: &[u8]| TcpOptionSpec::FastOpen {
        experimental,
        cookie: Cookie::Bytes(cookie.to_vec()),
    };
    assert_eq!(
        options("<FO TFO_COOKIE,nop,nop>"),
        Some(vec![
            TcpOptionSpec::FastOpen {
                experimental: false,
                cookie: Cookie::Own
            },
            TcpOptionSpec::Nop,
            TcpOptionSpec::Nop
        ]),
        "the stack's own"
    );
    assert_eq!(
        options("<FO,nop,FO 12ab,FOEXP cd>"),
        Some(vec![
            open(false, &[]),
            TcpOptionSpec::Nop,
            open(false, &[0x12, 0xab]),
            open(true, &[0xcd])
        ])
    );
    assert_eq!(
        options("<ECN e1b 1 ceb 0 e0b 16777215,ECN e0b 2>"),
        Some(vec![
            TcpOptionSpec::AccEcn {
                ect1_first: true,
                counters: vec![1, 0, 0xff_ffff]
            },
            TcpOptionSpec::AccEcn {
                ect1_first: false,
                counters: vec![2]
            },
        ])
    );
    for wrong in [
        "+0 > S 0:0(0) <mss 65536>",
        "+0 > S 0:0(0) <FO 123>",
        "+0 > S 0:0(0) <ECN e0b 16777216>",
        "+0 > S 0:0(0) <TS val 1 ecr 2,TS val 1 ecr 2,TS val 1 ecr 2,TS val 1 ecr 2,nop>",
        "+0 < S 0:0(0) win 5 <...>",
        "+0 < S 0:0(0) win 5 <TS val ... ecr 0>",
        "+0 < [ect01] S 0:0(0) win 5",
        "+0 < S 0:5(0) win 5",
        "+0 < S 0:0(0) win 65536",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn icmp_and_what_is_not_ours() {
    let body = |text: &str| match only(text).action {
        Action::Packet(packet) => packet.body,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        body("+0 < icmp unreachable frag_needed mtu 1400 [1:1461(1460)]"),
        Body::Icmp(IcmpSpec {
            kind: "unreachable".to_owned(),
            code: Some("frag_needed".to_owned()),
            mtu: Some(1400),
            echoed: Some((1, 1460)),
        })
    );
    assert_eq!(
        body("+0 < icmp packet_too_big mtu 1280 [1:1(0)]"),
        Body::Icmp(IcmpSpec {
            kind: "packet_too_big".to_owned(),
            code: None,
            mtu: Some(1280),
            echoed: Some((1, 0)),
        })
    );
    assert_eq!(
        body("+0 < [5:5(0)] icmp unreachable port_unreachable"),
        body("+0 < icmp unreachable port_unreachable [5:5(0)]"),
        "FreeBSD's dialect"
    );
    for (text, name) in [
        (
            "+0 > S 0:0(0) <mss 1460,FO TFO_COOKIE_ZERO,nop>",
            "the cookie TFO_COOKIE_ZERO",
        ),
        ("+0 > udp (1000)", "udp"),
        ("+0 > sctp: INIT[flgs=0]", "sctp"),
        ("+0 < gre: ipv4 1.1.1.1 > 2.2.2.2: . 1:1(0)", "gre"),
    ] {
        assert_eq!(body(text), Body::Foreign(name.to_owned()), "{text}");
    }
}

#[test]
fn calls_have_arguments_a_result_and_an_errno() {
    let call = called("+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)");
    assert_eq!(call.name, "connect");
    assert_eq!(call.arguments, [Expr::Int(3), Expr::Ellipsis, Expr::Ellipsis]);
    assert_eq!(call.result, Expr::Int(-1));
    assert_eq!(call.errno.as_deref(), Some("EINPROGRESS"));

    let call = called("+0 fcntl(3, F_GETFL) = 0x02 (flags O_RDWR)");
    assert_eq!((call.result, call.errno), (Expr::Int(2), None));

    let call = called("0 connect(3, ..., ...) = -1 // EINPROGRESS\n");
    assert_eq!(call.errno, None, "a comment says nothing");

    let word = |name: &str| Box::new(Expr::Word(name.to_owned()));
    let call = called("+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0");
    assert_eq!(call.arguments[2], Expr::Or(word("O_RDWR"), word("O_NONBLOCK")));
}

#[test]
fn structures_lists_texts_and_addresses() {
    let call = called(
        "+0 bind(3, {sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr(\"192.0.2.1\")}, ...) = 0",
    );
    let address = &call.arguments[1];
    assert_eq!(
        address.field("sa_family"),
        Some(&Expr::Word("AF_INET".to_owned()))
    );
    assert_eq!(
        address.field("sin_port"),
        Some(&Expr::Apply("htons".to_owned(), vec![Expr::Int(80)]))
    );
    let call = called(
        "+0 sendmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 1000}], msg_flags=0}, MSG_ZEROCOPY) = 1000",
    );
    let iov = call.arguments[1].field("msg_iov").expect("its vector");
    let Expr::List(parts) = iov else { panic!("{iov:?}") };
    assert_eq!(parts.len(), 1);
    let call = called("+0 poll([{fd=4, events=POLLIN, revents=0}], 1, 0) = 0");
    let Expr::List(polled) = &call.arguments[0] else {
        panic!("{call:?}")
    };
    assert_eq!(polled[0].field("fd"), Some(&Expr::Int(4)));
    let call = called("+0 setsockopt(3, SOL_TCP, TCP_CONGESTION, \"re\" \"no\", 4) = 0");
    assert_eq!(call.arguments[3], Expr::Text(b"reno".to_vec(), false));
    let call = called("+0 read(3, \"a\\x41\\n\"..., 10) = -1 EAGAIN");
    assert_eq!(call.arguments[1], Expr::Text(b"aA\n".to_vec(), true));
    assert!(
        parse(&format!("0 f({}1{}) = 0", "[".repeat(99), "]".repeat(99))).is_err(),
        "too deep"
    );
}

#[test]
fn comments_options_commands_and_code() {
    let script = parse(
        "/* of more\n than a line */\n--ip_version=ipv4 // here\n--tolerance_usecs=75000\n--local_ip=2001:db8::1\n\
         --define=A=\"b\"\n--flag\n# and there\n`sysctl -q a.b=1\n c`\n0 `true`\n+1 %{ assert tcpi_rto == 1, tcpi_rto\n}%\n`last`",
    )
    .expect("it reads");
    let options: Vec<_> = script
        .options
        .iter()
        .map(|option| (option.line, option.name.as_str(), option.value.as_deref()))
        .collect();
    assert_eq!(
        options,
        [
            (3, "ip_version", Some("ipv4")),
            (4, "tolerance_usecs", Some("75000")),
            (5, "local_ip", Some("2001:db8::1")),
            (6, "define", Some("A=\"b\"")),
            (7, "flag", None),
        ]
    );
    let actions: Vec<_> = script
        .events
        .iter()
        .map(|event| (event.line, event.action.clone()))
        .collect();
    assert_eq!(
        actions,
        [
            (9, Action::Command("sysctl -q a.b=1\n c".to_owned())),
            (11, Action::Command("true".to_owned())),
            (12, Action::Code("assert tcpi_rto == 1, tcpi_rto".to_owned())),
            (14, Action::Command("last".to_owned())),
        ]
    );
}

#[test]
fn an_error_says_where() {
    let error = parse("0 close(3) = 0\n+0 > Q 1:1(0)\n").expect_err("Q is no flag");
    assert_eq!(
        (error.line, error.message.as_str()),
        (2, "`Q`: `Q` is no control bit")
    );
    for broken in [
        "0 close(3 = 0",
        "0 %{ assert",
        "`never",
        "/* never",
        "0 \"",
        "0 > . 1:1(0) ack",
        "--",
        "0 f(\"\\",
    ] {
        assert!(parse(broken).is_err(), "{broken}");
    }
}
