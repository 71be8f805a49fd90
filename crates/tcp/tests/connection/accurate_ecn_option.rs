//! The option of accurate ECN (RFC 9768 section 3.2.3): when it is sent, what is made
//! of it, and how a connection does where the path does not take it.

use std::cell::RefCell;
use std::rc::Rc;

use crore_base::{Duration, Instant};
use crore_tcp::{Config, Connection, EcnBytes, EcnMode, EcnPolicy};
use crore_wire::{AccEcnOption, AccEcnOrder, Ecn, Flags, SackBlocks, Segment, Timestamps};

use crate::lone::{ACK, IRS, ISS, Lone, MSS, SYN, path, plain, seg, syn};
use crate::pair::{A, B, DELAY, Packet, Pair, text};

/// The flags that make the number `ace`.
fn ace(ace: u16) -> Flags {
    Flags::from_bits(ace << 6)
}

fn order0(counters: &[u32]) -> Option<AccEcnOption> {
    Some(AccEcnOption::new(AccEcnOrder::Ect0First, counters))
}

fn order1(counters: &[u32]) -> Option<AccEcnOption> {
    Some(AccEcnOption::new(AccEcnOrder::Ect1First, counters))
}

fn config(ecn: EcnPolicy) -> Config {
    Config { ecn, ..plain() }
}

fn asking() -> Segment {
    Segment {
        flags: SYN | ace(0b111),
        ..syn()
    }
}

/// In SYN-RECEIVED, the SYN-ACK sent.
fn answering(first: &Segment) -> Lone {
    let mut lone = Lone::answering(config(EcnPolicy::AccuratePassive), first);
    lone.out();
    lone
}

fn established() -> Lone {
    let mut lone = answering(&asking());
    lone.recv(&seg(ACK | ace(0b010), 1, 1), b"");
    lone.events();
    lone
}

/// The options and the lengths of what is sent.
fn sent(lone: &mut Lone) -> Vec<(Option<AccEcnOption>, usize)> {
    let all = lone.out_raw();
    all.iter()
        .map(|(s, p)| (s.options.accurate_ecn, p.len()))
        .collect()
}

fn marked(seq: u32, ecn: Ecn) -> Segment {
    Segment {
        ecn,
        ..seg(ACK | ace(5), seq, 1)
    }
}

/// An acknowledgment with the option.
fn telling(ack: u32, count: u16, option: Option<AccEcnOption>) -> Segment {
    let mut segment = seg(ACK | ace(count), 1, ack);
    segment.options.accurate_ecn = option;
    segment
}

//= rfc9768#section-3.2.3.2.1 (SHOULD)
//= rfc9768#section-3.2.3.2.2 (SHOULD)
#[test]
fn the_syn_ack_has_the_option_once() {
    let fresh = || Lone::answering(config(EcnPolicy::AccuratePassive), &asking());
    let mut lone = fresh();
    assert_eq!(sent(&mut lone), [(order0(&[1, 0, 1]), 0)]);
    let wait = lone.wait();
    lone.pass(wait);
    assert_eq!(sent(&mut lone), [(None, 0)], "not when it is sent again");

    let mut lone = fresh();
    sent(&mut lone);
    lone.recv(&asking(), b"");
    assert_eq!(sent(&mut lone), [(None, 0)], "nor when the SYN came again");
}

//= rfc9768#section-3.2.3.2.1 (MUST NOT)
#[test]
fn a_syn_has_none_and_one_on_it_means_nothing() {
    let mut lone = Lone::opening(config(EcnPolicy::Accurate));
    assert_eq!(sent(&mut lone), [(None, 0)]);
    let mut first = asking();
    first.options.accurate_ecn = order0(&[0, 0, 0]);
    let mut lone = answering(&first);
    lone.recv(&telling(1, 0b010, order0(&[7, 3, 1])), b"");
    let heard = lone.conn.stats().ecn_bytes;
    assert_eq!(
        (heard.ect0, heard.ce, heard.ect1),
        (7, 3, 1),
        "the first that counts"
    );
}

#[test]
fn the_first_acknowledgment_and_the_first_text_have_the_option() {
    let mut lone = Lone::opening(config(EcnPolicy::Accurate));
    lone.out();
    lone.conn.write(b"data").expect("open");
    let answer = Segment {
        options: syn().options,
        ..seg(SYN | ACK | ace(0b010), 0, 1)
    };
    lone.recv(&answer, b"");
    let all = order0(&[1, 0, 1]);
    assert_eq!(sent(&mut lone), [(all, 0), (all, 4)]);
    lone.conn.write(b"more").expect("open");
    assert_eq!(sent(&mut lone), [(None, 4)], "nothing is new");
    lone.recv(&answer, b"");
    assert_eq!(
        sent(&mut lone),
        [(None, 0)],
        "our answer may be lost because of it"
    );
}

//= rfc9768#section-3.2.3.3 (SHOULD)
#[test]
fn acknowledgments_tell_what_has_moved() {
    let mut lone = established();
    lone.recv(&marked(1, Ecn::NotEct), b"0123456789");
    assert_eq!(sent(&mut lone), [(None, 0)], "nothing has");
    lone.recv(&marked(11, Ecn::Ect0), b"0123456789");
    assert_eq!(sent(&mut lone), [(order0(&[11]), 0)]);
    lone.recv(&marked(21, Ecn::Ce), b"0123456789");
    assert_eq!(sent(&mut lone), [(order0(&[11, 10]), 0)]);
    lone.recv(&marked(31, Ecn::Ect0), b"0123456789");
    assert_eq!(
        sent(&mut lone),
        [(order0(&[21, 10]), 0)],
        "what once has is repeated"
    );
    lone.recv(&marked(41, Ecn::Ect1), b"0123456789");
    assert_eq!(sent(&mut lone), [(order0(&[21, 10, 11]), 0)]);
    lone.recv(&marked(51, Ecn::NotEct), b"0123456789");
    assert_eq!(sent(&mut lone), [(None, 0)]);
    lone.recv(&marked(21, Ecn::Ce), b"0123456789");
    assert_eq!(
        sent(&mut lone),
        [(None, 0)],
        "what lies outside of the window is nothing"
    );
    lone.recv(&marked(56, Ecn::Ect0), b"0123456789");
    lone.conn.write(b"answer").expect("open");
    assert_eq!(
        sent(&mut lone),
        [(order0(&[31, 10, 11]), 6)],
        "with text, old text counted"
    );
}

//= rfc9768#section-3.2.3.3 (MUST)
#[test]
fn two_sack_blocks_go_before_it_and_the_news_before_the_rest() {
    let mut first = asking();
    first.options.sack_permitted = true;
    first.options.timestamps = Some(Timestamps { value: 1, echo: 0 });
    let mut lone = Lone::answering(
        Config {
            sack: true,
            timestamps: true,
            ..config(EcnPolicy::AccuratePassive)
        },
        &first,
    );
    lone.out();
    let mut recv = |seq, ecn| {
        let mut segment = marked(seq, ecn);
        segment.options.timestamps = Some(Timestamps {
            value: 2,
            echo: 1_000,
        });
        let text: &[u8] = if seq == 1 { b"" } else { b"0123456789" };
        lone.recv(&segment, text);
        let sent = lone.out_raw();
        let options = sent.first().map(|(segment, _)| segment.options);
        options.map(|o| {
            let blocks = (o.encoded_len() - 12 - o.accurate_ecn.map_or(0, |o| o.encoded_len())) / 8;
            (o.accurate_ecn, blocks)
        })
    };
    recv(1, Ecn::NotEct);
    assert_eq!(recv(101, Ecn::Ect1), Some((order1(&[11]), 1)));
    assert_eq!(recv(201, Ecn::Ce), Some((order1(&[11, 10]), 2)));
    assert_eq!(
        recv(301, Ecn::Ect1),
        Some((order1(&[21, 10]), 2)),
        "where three would fit"
    );
    assert_eq!(
        recv(401, Ecn::Ect0),
        Some((order0(&[11]), 2)),
        "all three do not fit, but the news"
    );
    assert_eq!(recv(501, Ecn::NotEct), Some((None, 3)));
}

//= rfc9768#section-3.2.3.2.2 (SHOULD)
#[test]
fn text_with_the_option_that_is_lost_is_sent_again_without() {
    let mut lone = established();
    for seq in [1, 5] {
        lone.conn.write(b"data").expect("open");
        assert_eq!(sent(&mut lone), [(order0(&[1, 0, 1]), 4)], "byte {seq}");
        let wait = lone.wait();
        lone.pass(wait);
        assert_eq!(sent(&mut lone), [(None, 4)], "byte {seq}, again");
        lone.recv(&seg(ACK | ace(5), 1, seq + 4), b"");
    }
    lone.conn.write(b"data").expect("open");
    assert_eq!(sent(&mut lone), [(None, 4)], "it is sent no more");
    lone.recv(&marked(1, Ecn::Ect0), b"text");
    assert_eq!(sent(&mut lone)[0].0, None, "not with an acknowledgment either");
    let mut telling = telling(13, 6, order0(&[1, 100, 1]));
    telling.seq += 4;
    lone.recv(&telling, b"");
    assert_eq!(lone.conn.stats().ecn_bytes.ce, 100, "but what comes is read");
}

//= rfc9768#section-3.2.2.5.2 (SHOULD)
#[test]
fn the_option_tells_whether_the_flags_have_turned() {
    let mss = u32::from(MSS);
    // Marks told by flags, segments acknowledged, bytes with CE; how many it were.
    for (count, segments, bytes, marks) in [
        (5, 8, Some(0), 0),
        (5, 8, Some(8 * mss), 8),
        (5, 9, Some(mss), 8),
        (7, 10, Some(mss), 2),
        (7, 10, Some(10 * mss), 10),
        (4, 10, Some(7 * mss), 7),
        (7, 10, None, 2),
    ] {
        let mut lone = established();
        lone.conn.write(&text(1, 10 * usize::from(MSS))).expect("open");
        lone.out();
        let option = bytes.and_then(|bytes| order0(&[1, bytes]));
        lone.recv(&telling(1 + segments * mss, count, option), b"");
        assert_eq!(
            lone.conn.stats().ece_received,
            marks,
            "{count} {segments} {bytes:?}"
        );
    }
}

//= rfc9768#section-3.2.3.2.5 (MUST)
#[test]
fn an_option_that_contradicts_the_flags_ends_marking() {
    let mut lone = established();
    let mss = u32::from(MSS);
    for n in 1..=4 {
        lone.conn.write(&text(1, usize::from(MSS))).expect("open");
        let marks = lone.out_raw().iter().all(|(s, _)| s.ecn == Ecn::Ect0);
        assert_eq!(marks, n <= 3, "segment {n}");
        lone.recv(&telling(1 + n * mss, 5, order0(&[1, n * mss])), b"");
    }
    assert_eq!(lone.conn.stats().ecn, EcnMode::Accurate);
}

//= rfc9768#section-3.2.3.2.4 (MAY)
#[test]
fn wiped_counters_leave_the_flags() {
    let mut lone = answering(&asking());
    lone.recv(&telling(1, 0b010, order0(&[0, 0, 0])), b"");
    lone.conn.write(&text(1, 2 * usize::from(MSS))).expect("open");
    lone.out();
    lone.recv(&telling(1 + u32::from(MSS), 6, order0(&[0, 0, 0])), b"");
    let stats = lone.conn.stats();
    assert_eq!((stats.ece_received, stats.ecn_bytes.ce), (1, 0));
}

/// Protects the counters from a connection that has forgotten them.
#[test]
fn a_parked_connection_tells_of_bytes_only_if_there_were_none() {
    for moved in [false, true] {
        let mut lone = established();
        if moved {
            lone.recv(&marked(1, Ecn::Ect0), b"0123456789");
        } else {
            lone.recv(&marked(1, Ecn::NotEct), b"0123456789");
        }
        lone.out();
        lone.read_all();
        lone.events();
        let parked = lone.conn.park().expect("nothing is going on");
        let config = Rc::new(config(EcnPolicy::AccuratePassive));
        lone.conn = Connection::wake(&config, &parked, 0, path(), false);
        lone.recv(&marked(11, Ecn::Ect0), b"0123456789");
        let option = if moved { None } else { order0(&[11]) };
        assert_eq!(sent(&mut lone), [(option, 0)], "moved before: {moved}");
        assert_eq!(lone.conn.stats().ecn, EcnMode::Accurate);
    }
}

#[test]
fn an_end_without_accurate_ecn_sends_none_and_reads_none() {
    for (policy, first) in [(EcnPolicy::Passive, ace(0b011)), (EcnPolicy::Off, Flags::NONE)] {
        let first = Segment {
            flags: SYN | first,
            ..syn()
        };
        let mut lone = Lone::answering(config(policy), &first);
        assert_eq!(sent(&mut lone), [(None, 0)]);
        lone.recv(&telling(1, 0, order0(&[7, 7, 7])), b"");
        lone.conn.write(b"data").expect("open");
        lone.recv(&marked(1, Ecn::Ce), b"text");
        assert!(sent(&mut lone).iter().all(|s| s.0.is_none()), "{policy:?}");
        assert_eq!(
            lone.conn.stats().ecn_bytes,
            Lone::established(plain()).conn.stats().ecn_bytes
        );
    }
}

fn pair() -> Pair {
    let with = |ecn| Config {
        ecn,
        ..Config::default()
    };
    Pair::new(with(EcnPolicy::Accurate), with(EcnPolicy::AccuratePassive))
}

/// What a marking path has done, in segments and in bytes with CE and with ECT(0).
#[derive(Clone, Copy, Default)]
struct Marked {
    segments: u32,
    ce: u32,
    ect0: u32,
}

/// What a path does to a packet.
type OnWay = Box<dyn FnMut(&mut Packet)>;

/// Marks every `nth` segment with text that can be marked.
fn marking(nth: u32) -> (Rc<RefCell<Marked>>, OnWay) {
    let marked = Rc::new(RefCell::new(Marked::default()));
    let count = Rc::clone(&marked);
    let mut seen = 0;
    let on_way = move |packet: &mut Packet| {
        if packet.segment.ecn == Ecn::NotEct {
            return;
        }
        seen += 1;
        let (len, mut count) = (packet.payload.len() as u32, count.borrow_mut());
        if seen % nth == 0 {
            packet.segment.ecn = Ecn::Ce;
            count.segments += 1;
            count.ce += len;
        } else {
            count.ect0 += len;
        }
    };
    (marked, Box::new(on_way))
}

#[test]
fn bytes_are_told_exactly_though_acknowledgments_are_few_and_some_are_lost() {
    for nth in [1, 2, 40] {
        let mut pair = pair();
        pair.open(A);
        pair.settle();
        let (marked, on_way) = marking(nth);
        pair.on_way = on_way;
        // Each acknowledges all that came at once, so that the flags turn meanwhile.
        let mut acks = 0;
        pair.fate = Box::new(move |packet| {
            acks += u32::from(packet.from == B);
            if packet.from == B && acks % 4 == 1 {
                vec![]
            } else {
                vec![DELAY]
            }
        });
        pair.ends[A].to_send = text(1, 1_000_000);
        assert!(
            pair.drive(Duration::from_secs(600), |pair| pair.is_delivered()),
            "every {nth}th"
        );
        // The last word, after the losses.
        pair.fate = Box::new(|_| vec![DELAY]);
        pair.ends[A].to_send.extend(text(2, 100));
        pair.settle();
        let told = pair.ends[A].conn().stats().ecn_bytes;
        let marked = *marked.borrow();
        assert_eq!(
            (told.ce, told.ect0),
            (marked.ce, 1 + marked.ect0),
            "every {nth}th"
        );
    }
}

/// What a middlebox makes of segments with the option, from each end.
type Middlebox = fn(&mut Packet);

fn wipe(packet: &mut Packet) {
    let option = &mut packet.segment.options.accurate_ecn;
    *option = option.map(|o| AccEcnOption::new(o.order(), &[0; 3][..o.len()]));
}

fn strip(packet: &mut Packet) {
    packet.segment.options.accurate_ecn = None;
}

#[test]
fn options_that_are_stripped_or_wiped_leave_the_flags_exact() {
    for middlebox in [strip as Middlebox, wipe] {
        let mut pair = pair();
        let (marked, mut mark) = marking(40);
        pair.on_way = Box::new(move |packet| {
            mark(packet);
            middlebox(packet);
        });
        pair.open(A);
        pair.ends[A].to_send = text(1, 1_000_000);
        pair.settle();
        pair.assert_delivered();
        let stats = pair.ends[A].conn().stats();
        assert_eq!(stats.ece_received, marked.borrow().segments);
        assert_eq!(
            stats.ecn_bytes,
            EcnBytes {
                ect0: 1,
                ce: 0,
                ect1: 1
            }
        );
    }
}

//= rfc9768#section-3.2.3.2.2 (SHOULD)
#[test]
fn a_path_that_drops_the_option_is_got_over_and_left_without_it() {
    for (from_a, from_b, to_send) in [
        (true, true, [300_000, 300_000]),
        (true, false, [300_000, 0]),
        (false, true, [300_000, 0]),
        (true, true, [300_000, 0]),
        (false, true, [300_000, 300_000]),
    ] {
        let mut pair = pair();
        pair.lose(move |packet| {
            let drops = if packet.from == A { from_a } else { from_b };
            drops && packet.segment.options.accurate_ecn.is_some()
        });
        pair.open(A);
        let began = pair.now;
        pair.ends[A].to_send = text(1, to_send[A]);
        pair.ends[B].to_send = text(2, to_send[B]);
        assert!(
            pair.drive(Duration::from_secs(60), |pair| pair.is_delivered()),
            "{from_a} {from_b} {to_send:?}"
        );
        pair.assert_delivered();
        let took = pair.now.since(began);
        assert!(
            took < Duration::from_secs(8),
            "{took:?}: {from_a} {from_b} {to_send:?}"
        );
        let late = |packet: &&Packet| packet.at > began + Duration::from_secs(8);
        pair.ends[A].to_send.extend(text(3, 100_000));
        pair.run_for(Duration::from_secs(20));
        let lost = |end| {
            pair.sent_by(end)
                .filter(late)
                .any(|p| p.segment.options.accurate_ecn.is_some())
        };
        assert!(!(from_a && lost(A) || from_b && lost(B)), "it is left out");
    }
}

/// Protects an open connection from a path that turns into one that drops the option.
#[test]
fn a_path_that_begins_to_drop_the_option_is_got_over() {
    let mut pair = pair();
    pair.open(A);
    pair.send_both(100_000);
    pair.settle();
    pair.assert_delivered();
    pair.lose(|packet| packet.segment.options.accurate_ecn.is_some());
    let began = pair.now;
    pair.ends[A].to_send.extend(text(7, 300_000));
    pair.ends[B].to_send.extend(text(8, 300_000));
    assert!(pair.drive(Duration::from_secs(120), |pair| pair.is_delivered()));
    let took = pair.now.since(began);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// Protects the numbers from options that lie in any way.
#[test]
fn hostile_options_are_borne() {
    let mut lone = established();
    let mss = usize::from(MSS);
    let mut acked = 1;
    let mut drawn = 1u32;
    for n in 0..500u32 {
        lone.conn.write(&text(1, mss)).ok();
        for (segment, payload) in lone.out_raw() {
            acked = acked.max(ISS.distance_to(segment.seq) + payload.len() as u32);
        }
        drawn = drawn.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        let counters = [drawn, drawn >> 3, drawn << 5];
        let option = match n % 3 {
            0 => order0(&counters[..n as usize % 4]),
            1 => order1(&counters[..n as usize % 4]),
            _ => None,
        };
        let mut segment = telling(acked, (drawn >> 13) as u16 & 7, option);
        if n % 7 == 0 {
            segment.options.sack = SackBlocks::new();
            segment.options.sack.push(IRS, IRS + 1);
        }
        lone.recv(&segment, b"");
        assert!(lone.conn.stats().cwnd >= u32::from(MSS), "it goes on");
    }
    assert!(lone.now >= Instant::from_millis(1_000));
}
