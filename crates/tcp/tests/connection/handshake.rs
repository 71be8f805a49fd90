//! Opening.

use crore_base::{Duration, SeqNum, WindowScale};
use crore_tcp::{CloseReason, Config, Disposition, Event, HalfOpen, Path, State, Unreachable};
use crore_wire::{Segment, TcpOptions, Timestamps};

use crate::lone::{ACK, FIN, ISS, Lone, MSS, RST, SYN, plain, seg, syn};
use crate::pair::{A, B, DELAY, Pair};

#[test]
fn syns_that_cross_open_one_connection() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.open(A);
    pair.open(B);
    pair.send_both(5_000);
    assert!(
        pair.drive(Duration::from_secs(5), |p| p.is_delivered()),
        "data flows both ways"
    );
    pair.assert_delivered();
    pair.assert_states(State::Established, State::Established);
    assert_eq!(pair.ends[A].events[0], Event::Connected, "told first");
    assert_eq!(
        pair.ends[A].conn().stats().retransmits,
        1,
        "only the SYN, as a SYN-ACK"
    );
}

#[test]
fn a_lost_syn_ack_is_sent_again_when_the_syn_is() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.lose(|p| p.from == B && p.index == 0);
    pair.open(A);
    pair.run_for(Duration::from_secs(3));
    pair.assert_states(State::Established, State::Established);
}

#[test]
fn the_last_ack_of_the_handshake_may_be_lost() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.lose(|p| p.from == A && p.index == 1);
    pair.ends[A].to_send = b"hello".to_vec();
    pair.open(A);
    assert!(
        pair.drive(Duration::from_millis(500), |p| p.ends[B].received == b"hello"),
        "the first data acknowledges the SYN as well"
    );
}

#[test]
fn a_syn_without_answer_is_given_up() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.lose(|_| true);
    pair.open(A);
    let mut times = Vec::new();
    pair.run_for(Duration::from_secs(600));
    for packet in pair.sent_by(A) {
        times.push(packet.at.as_millis() / 1000 - 1);
    }
    assert_eq!(
        times,
        [0, 1, 3, 7, 15, 31, 63],
        "six retries, each after twice the time"
    );
    assert_eq!(
        pair.ends[A].closed(),
        Some(CloseReason::OpenTimedOut),
        "then the end"
    );
    assert!(pair.ends[A].conn().is_closed(), "nothing is left");
}

#[test]
fn a_syn_ack_without_answer_is_given_up() {
    let mut lone = Lone::listening(plain());
    let mut syn_acks = 0;
    while lone.conn.state() != State::Closed {
        syn_acks += lone.out().len();
        lone.wait();
    }
    assert_eq!(syn_acks, 7, "one and six more");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::OpenTimedOut)],
        "nobody was connected"
    );
}

#[test]
fn a_refused_connection_says_so() {
    let mut lone = Lone::opening(plain());
    lone.out();
    assert_eq!(
        lone.recv(&seg(RST | ACK, 0, 1), b""),
        Disposition::Accepted,
        "believed"
    );
    assert_eq!(lone.events(), [Event::Closed(CloseReason::Refused)], "refused");
}

#[test]
fn hard_icmp_errors_end_only_what_is_not_yet_open() {
    let mut lone = Lone::opening(plain());
    lone.conn.on_unreachable(lone.now, Unreachable::Host, false);
    assert_eq!(lone.conn.state(), State::SynSent, "a soft error may pass");
    lone.conn.on_unreachable(lone.now, Unreachable::Host, true);
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::Unreachable)],
        "a hard one does not"
    );
    let mut lone = Lone::established(plain());
    lone.conn.on_unreachable(lone.now, Unreachable::Host, true);
    assert_eq!(
        lone.conn.state(),
        State::Established,
        "RFC 5927: it may be forged"
    );
}

#[test]
fn a_peer_that_names_no_mss_gets_the_default() {
    for (path, expected) in [(Path::ipv4(1500), 536), (Path::ipv6(1500), 1220)] {
        let mut pair = Pair::new(Config::default(), Config::default());
        pair.path = path;
        pair.fate = Box::new(|_| vec![DELAY]);
        pair.open(A);
        pair.turn();
        let answer = Segment {
            seq: SeqNum(9),
            flags: SYN | ACK,
            ack: pair.ends[A].conn().snd_nxt(),
            window: 1000,
            ..Segment::default()
        };
        pair.inject(A, &answer, b"");
        assert_eq!(
            pair.ends[A].conn().stats().mss,
            expected,
            "RFC 9293 section 3.7.1"
        );
    }
}

#[test]
fn the_mss_counts_the_options() {
    let mut pair = Pair::connected();
    pair.ends[A].to_send = vec![1; 10_000];
    pair.drive(Duration::from_secs(1), |p| p.is_delivered());
    let largest = pair.sent_by(A).map(|p| p.payload.len()).max();
    assert_eq!(largest, Some(1448), "1460 less the timestamp (RFC 6691)");
}

#[test]
fn a_peer_that_names_a_silly_mss_gets_the_floor() {
    for named in [0, 1, 12, 63] {
        let mut silly = syn();
        silly.options.mss = Some(named);
        let lone = Lone::answering(plain(), &silly);
        assert_eq!(lone.conn.stats().mss, 64, "an MSS of {named} is an attack");
    }
}

#[test]
fn options_are_used_only_if_both_ends_have_them() {
    let rich = |mut syn: Segment| {
        syn.options = TcpOptions {
            mss: Some(MSS),
            window_scale: Some(WindowScale::new(7)),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 9, echo: 0 }),
            ..TcpOptions::default()
        };
        syn
    };
    let mut lone = Lone::answering(Config::default(), &rich(syn()));
    let answer = lone.out_raw()[0].0.options;
    assert_eq!(
        answer.window_scale,
        Some(WindowScale::new(3)),
        "256 KiB need 3 bits"
    );
    assert!(answer.sack_permitted, "both can");
    assert_eq!(answer.timestamps.map(|t| t.echo), Some(9), "the peer's is echoed");
    let mut lone = Lone::answering(plain(), &rich(syn()));
    let answer = lone.out_raw()[0].0.options;
    assert_eq!(
        answer,
        TcpOptions {
            mss: Some(MSS),
            ..TcpOptions::default()
        },
        "we do not"
    );
    let mut lone = Lone::answering(Config::default(), &syn());
    let answer = lone.out_raw()[0].0.options;
    assert_eq!(
        (answer.window_scale, answer.sack_permitted, answer.timestamps),
        (None, false, None),
        "the peer does not"
    );
}

#[test]
fn the_window_of_a_syn_is_not_scaled() {
    let mut first = syn();
    first.options.window_scale = Some(WindowScale::new(7));
    first.window = 1_000;
    let mut lone = Lone::answering(Config::default(), &first);
    lone.out();
    assert_eq!(lone.conn.stats().send_window, 1_000, "RFC 7323 section 2.2");
    let ack = Segment {
        window: 1_000,
        ..seg(ACK, 1, 1)
    };
    lone.recv(&ack, b"");
    assert_eq!(lone.conn.stats().send_window, 128_000, "from now on it is");
}

#[test]
fn the_handshakes_ack_may_bring_data_and_fin() {
    let mut lone = Lone::listening(plain());
    lone.out();
    lone.recv(&seg(FIN | ACK, 1, 1), b"hello");
    assert_eq!(lone.conn.state(), State::CloseWait, "all in one segment");
    assert_eq!(
        lone.events(),
        [Event::Connected, Event::Readable, Event::PeerClosed],
        "in their order"
    );
    assert_eq!(lone.read_all(), b"hello", "the text");
    let sent = lone.out();
    assert_eq!((sent.len(), sent[0].ack), (1, 7), "one ACK for SYN, text and FIN");
}

#[test]
fn what_is_written_before_the_handshake_follows_it() {
    let mut lone = Lone::opening(plain());
    assert_eq!(lone.conn.write(b"early"), Ok(5), "taken");
    lone.conn.shutdown_write();
    assert_eq!(lone.said(), "SYN", "nothing but the SYN goes");
    lone.recv(
        &Segment {
            window: 5_000,
            ..seg(SYN | ACK, 0, 1)
        },
        b"",
    );
    assert_eq!(
        lone.said(),
        "FIN|ACK+5",
        "then text, FIN and the handshake's ACK in one"
    );
    assert_eq!(lone.conn.state(), State::FinWait1, "closing from the start");
}

#[test]
fn text_and_fin_of_a_syn_ack_count() {
    let mut lone = Lone::opening(plain());
    lone.out();
    lone.recv(&seg(SYN | ACK | FIN, 0, 1), b"early");
    assert_eq!(lone.out()[0].ack, 7, "RFC 9293 section 3.10.7.3");
    assert_eq!(lone.read_all(), b"early", "it can be read");
    assert_eq!(lone.conn.state(), State::CloseWait, "and is all");
}

#[test]
fn text_on_a_syn_that_crosses_is_left_to_be_sent_again() {
    let mut lone = Lone::opening(plain());
    lone.out();
    lone.recv(&seg(SYN, 0, 0), b"early");
    assert_eq!(lone.out()[0].ack, 1, "only the SYN is acknowledged");
    lone.recv(&seg(ACK, 1, 1), b"early");
    assert_eq!(lone.read_all(), b"early", "it comes again");
}

#[test]
fn an_old_syn_ack_is_reset_and_the_opening_goes_on() {
    let mut lone = Lone::opening(plain());
    lone.out();
    assert!(
        matches!(lone.recv(&seg(SYN | ACK, 77, 500), b""), Disposition::Dropped(_)),
        "not ours"
    );
    assert_eq!(lone.said(), "RST@500", "the old connection's end");
    assert_eq!(lone.conn.state(), State::SynSent, "ours is still opening");
    lone.recv(&seg(SYN | ACK, 0, 1), b"");
    assert_eq!(lone.conn.state(), State::Established, "RFC 9293 figure 9");
}

#[test]
fn a_lost_syn_leaves_one_segment_of_initial_window() {
    let mut lone = Lone::opening(plain());
    lone.out();
    lone.wait();
    lone.out();
    lone.recv(&syn_ack(), b"");
    assert_eq!(lone.conn.stats().cwnd, u32::from(MSS), "RFC 5681 section 3.1");
    let mut lone = Lone::opening(plain());
    lone.out();
    lone.recv(&syn_ack(), b"");
    assert_eq!(lone.conn.stats().cwnd, 10 * u32::from(MSS), "RFC 6928");
}

fn syn_ack() -> Segment {
    let mut segment = seg(SYN | ACK, 0, 1);
    segment.options.mss = Some(MSS);
    segment
}

#[test]
fn closing_before_any_answer_leaves_nothing() {
    let mut lone = Lone::opening(plain());
    lone.out();
    lone.conn.close(lone.now);
    assert_eq!(lone.events(), [Event::Closed(CloseReason::Aborted)], "at once");
    assert!(lone.conn.is_closed(), "and wholly");
    assert_eq!(lone.said(), "", "nobody is there to be told");
}

#[test]
fn nothing_is_sent_before_a_buffer_was_had() {
    let lone = Lone::opening(plain());
    for _ in 0..3 {
        assert!(lone.conn.plan_transmit(lone.now).is_some(), "the SYN stays owed");
    }
    assert_eq!(lone.conn.snd_nxt(), ISS, "and nothing has moved");
    assert_eq!(
        lone.conn.next_timeout(),
        None,
        "no timer runs for what was not sent"
    );
}

#[test]
fn the_wait_for_the_answer_to_a_syn_ack_doubles_up_to_a_bound() {
    let config = Config {
        rto_initial: Duration::from_secs(1),
        rto_max: Duration::from_secs(5),
        ..plain()
    };
    let waits: Vec<u64> = (0..5)
        .map(|resent| HalfOpen::patience(&config, resent).as_millis() / 1000)
        .collect();
    assert_eq!(waits, [1, 3, 7, 12, 17], "1, 2, 4, and then 5 seconds each");
    let most = HalfOpen::patience(&config, u8::MAX);
    assert!(most < Duration::from_secs(200), "{most:?}");
}
