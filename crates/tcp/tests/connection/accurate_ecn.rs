//! Accurate ECN (RFC 9768): negotiated with a fallback for each thing that may be
//! dropped or mangled, counted, obeyed.

use std::cell::RefCell;
use std::rc::Rc;

use crore_base::Duration;
use crore_tcp::{CloseReason, Config, EcnMode, EcnPolicy, Event, State};
use crore_wire::{Ecn, Flags, SackBlocks, Segment};

use crate::lone::{ACK, IRS, Lone, MSS, RST, SYN, plain, seg, syn};
use crate::pair::{A, B, DELAY, Pair, text};

/// The flags that make the number `ace`.
fn ace(ace: u16) -> Flags {
    Flags::from_bits(ace << 6)
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
fn answering() -> Lone {
    let mut lone = Lone::answering(config(EcnPolicy::AccuratePassive), &asking());
    assert_eq!(
        lone.out()[0].flags,
        SYN | ACK | ace(0b010),
        "the SYN came unmarked"
    );
    lone
}

fn established() -> Lone {
    let mut lone = answering();
    lone.recv(&seg(ACK | ace(0b010), 1, 1), b"");
    lone.events();
    lone
}

fn sent(lone: &mut Lone) -> Vec<(Flags, Ecn, usize)> {
    let all = lone.out_raw();
    all.iter()
        .map(|(s, p)| (s.flags.without(Flags::PSH), s.ecn, p.len()))
        .collect()
}

fn marked(flags: Flags, seq: u32, ecn: Ecn) -> Segment {
    Segment {
        ecn,
        ..seg(flags, seq, 1)
    }
}

#[test]
fn the_syn_ack_tells_which_mark_the_syn_came_with() {
    for (ecn, told) in [
        (Ecn::NotEct, 0b010),
        (Ecn::Ect1, 0b011),
        (Ecn::Ect0, 0b100),
        (Ecn::Ce, 0b110),
    ] {
        let first = Segment { ecn, ..asking() };
        let mut lone = Lone::answering(config(EcnPolicy::AccuratePassive), &first);
        assert_eq!(lone.out()[0].flags, SYN | ACK | ace(told), "{ecn:?}");
        // A copy of the SYN that came unmarked: the latest one counts.
        lone.recv(&asking(), b"");
        assert_eq!(lone.out()[0].flags, SYN | ACK | ace(0b010), "{ecn:?}");
    }
}

#[test]
fn the_first_ack_tells_which_mark_the_syn_ack_came_with_and_goes_before_data() {
    for (ecn, told, count) in [
        (Ecn::NotEct, 0b010, 5),
        (Ecn::Ect1, 0b011, 5),
        (Ecn::Ect0, 0b100, 5),
        (Ecn::Ce, 0b110, 6),
    ] {
        let mut lone = Lone::opening(config(EcnPolicy::Accurate));
        assert_eq!(lone.out()[0].flags, SYN | ace(0b111));
        lone.conn.write(b"data").expect("open");
        let answer = Segment {
            ecn,
            options: syn().options,
            ..seg(SYN | ACK | ace(0b010), 0, 1)
        };
        lone.recv(&answer, b"");
        assert_eq!(
            sent(&mut lone),
            [
                (ACK | ace(told), Ecn::NotEct, 0),
                (ACK | ace(count), Ecn::Ect0, 4)
            ],
            "{ecn:?}"
        );
        lone.recv(&answer, b"");
        assert_eq!(sent(&mut lone), [(ACK | ace(told), Ecn::NotEct, 0)], "and again");
        lone.recv(&marked(ACK | ace(5), 1, Ecn::NotEct), b"x");
        assert_eq!(sent(&mut lone)[0].0, ACK | ace(count), "counted once");
    }
}

#[test]
fn a_syn_that_was_mangled_means_no_marked_data() {
    for told in [0b011, 0b100, 0b110] {
        let mut lone = Lone::opening(config(EcnPolicy::Accurate));
        lone.out();
        let window = lone.conn.stats().cwnd;
        lone.recv(
            &Segment {
                options: syn().options,
                ..seg(SYN | ACK | ace(told), 0, 1)
            },
            b"",
        );
        assert_eq!(lone.conn.stats().ecn, EcnMode::Accurate, "the mode stays");
        lone.conn.write(b"data").expect("open");
        assert_eq!(sent(&mut lone)[1], (ACK | ace(5), Ecn::NotEct, 4), "{told:03b}");
        let reduced = lone.conn.stats().cwnd < window.max(10 * u32::from(MSS));
        assert_eq!(reduced, told == 0b110, "{told:03b} tells of congestion or not");
    }
}

#[test]
fn lost_syns_are_sent_again_with_and_then_without() {
    let mut lone = Lone::opening(config(EcnPolicy::Accurate));
    let mut flags = vec![lone.out()[0].flags];
    for _ in 0..2 {
        let wait = lone.wait();
        lone.pass(wait);
        flags.push(lone.out()[0].flags);
    }
    assert_eq!(flags, [SYN | ace(7), SYN | ace(7), SYN]);
    // The answer to the first: the mode is what the first SYN-ACK says.
    lone.recv(&seg(SYN | ACK | ace(0b010), 0, 1), b"");
    assert_eq!(lone.conn.stats().ecn, EcnMode::Accurate);
    lone.conn.write(b"data").expect("open");
    assert_eq!(sent(&mut lone)[1].1, Ecn::Ect0, "who has opened may mark");
}

#[test]
fn lost_syn_acks_are_sent_again_with_and_then_without() {
    let mut lone = answering();
    for (again, flags) in [(1, SYN | ACK | ace(0b010)), (2, SYN | ACK)] {
        let wait = lone.wait();
        lone.pass(wait);
        assert_eq!(lone.out()[0].flags, flags, "time {again}");
    }
    lone.recv(&seg(ACK | ace(0b010), 1, 1), b"");
    assert_eq!(lone.conn.stats().ecn, EcnMode::Accurate, "the mode stays");
    lone.conn.write(b"data").expect("open");
    assert_eq!(
        sent(&mut lone),
        [(ACK | ace(5), Ecn::NotEct, 4)],
        "but nothing is marked"
    );
}

#[test]
fn a_syn_without_ecn_after_one_with_it_ends_marking_and_another_kind_everything() {
    let mut lone = answering();
    lone.recv(&syn(), b"");
    assert_eq!(lone.out()[0].flags, SYN | ACK | ace(0b010), "answered as before");
    lone.recv(&seg(ACK | ace(0b010), 1, 1), b"");
    lone.conn.write(b"data").expect("open");
    assert_eq!(sent(&mut lone)[0].1, Ecn::NotEct);

    let mut lone = answering();
    lone.recv(
        &Segment {
            flags: SYN | ace(0b011),
            ..syn()
        },
        b"",
    );
    assert!(lone.out()[0].flags.contains(RST), "nobody could know which it is");
    assert_eq!(lone.events(), [Event::Closed(CloseReason::Aborted)]);
}

#[test]
fn a_final_ack_of_zero_means_no_marks_and_no_heed_but_feedback() {
    let mut lone = answering();
    lone.recv(&seg(ACK, 1, 1), b"");
    assert_eq!(lone.conn.stats().ecn, EcnMode::Accurate);
    lone.conn.write(b"data").expect("open");
    assert_eq!(sent(&mut lone), [(ACK | ace(5), Ecn::NotEct, 4)]);
    let window = lone.conn.stats().cwnd;
    lone.recv(
        &Segment {
            ecn: Ecn::Ce,
            ..seg(ACK | ace(7), 1, 5)
        },
        b"x",
    );
    assert!(lone.conn.stats().cwnd >= window, "not heeded");
    assert_eq!(sent(&mut lone), [(ACK | ace(6), Ecn::NotEct, 0)], "but told");
}

#[test]
fn marks_are_counted_on_data_and_on_bare_acks_but_not_outside_of_the_window() {
    let mut lone = established();
    lone.recv(&marked(ACK | ace(5), 1, Ecn::Ce), b"a");
    assert_eq!(sent(&mut lone)[0].0, ACK | ace(6));
    lone.recv(&marked(ACK | ace(5), 2, Ecn::Ect0), b"b");
    assert_eq!(sent(&mut lone)[0].0, ACK | ace(6), "and no more");
    for _ in 0..3 {
        lone.recv(&marked(ACK | ace(5), 3, Ecn::Ce), b"");
    }
    assert_eq!(
        sent(&mut lone),
        [(ACK | ace(9), Ecn::NotEct, 0)],
        "the third bare one is told of"
    );
    lone.recv(&marked(ACK | ace(5), 1 << 30, Ecn::Ce), b"a");
    assert_eq!(sent(&mut lone)[0].0, ACK | ace(9), "anybody can send that");
    assert_eq!(lone.conn.stats().ce_received, 4);
}

/// Two acknowledgments for one segment would pass for a duplicate of the first:
/// three of them are a loss.
#[test]
fn a_mark_on_what_lies_beyond_a_hole_earns_no_second_acknowledgment() {
    let mut lone = established();
    for (n, ecn) in [Ecn::Ce, Ecn::Ect0, Ecn::Ce].into_iter().enumerate() {
        let seq = 100 + 10 * n as u32;
        lone.recv(&marked(ACK | ace(5), seq, ecn), b"0123456789");
        assert_eq!(sent(&mut lone).len(), 1, "segment {n}");
    }
}

#[test]
fn a_count_that_rises_reduces_once_a_window_and_no_cwr_is_sent() {
    let mut lone = established();
    let mss = u32::from(MSS);
    lone.conn.write(&text(1, 40 * usize::from(MSS))).expect("open");
    assert_eq!(sent(&mut lone).len(), 10);
    let before = lone.conn.stats().cwnd;
    lone.recv(&seg(ACK | ace(6), 1, 1 + mss), b"");
    let reduced = lone.conn.stats().cwnd;
    assert!(reduced < before);
    lone.recv(&seg(ACK | ace(7), 1, 1 + 2 * mss), b"");
    assert!(lone.conn.stats().cwnd >= reduced, "the same window");
    // Older than the one before: it acknowledges nothing, and is not looked at.
    lone.recv(&seg(ACK | ace(6), 1, 1 + 2 * mss), b"");
    lone.recv(&seg(ACK | ace(7), 1, 1 + 10 * mss), b"");
    assert_eq!(lone.conn.stats().ece_received, 2, "two marks were told of");
    let next = sent(&mut lone);
    assert!(!next.is_empty() && next.iter().all(|s| s.0 == ACK | ace(5) && s.1 == Ecn::Ect0));
    assert_eq!(lone.conn.stats().retransmits, 0);
}

#[test]
fn sack_blocks_make_a_final_ack_a_count() {
    let mut first = asking();
    first.options.sack_permitted = true;
    let mut lone = Lone::answering(
        Config {
            sack: true,
            ..config(EcnPolicy::AccuratePassive)
        },
        &first,
    );
    lone.out();
    let mut ack = seg(ACK | ace(6), 1, 1);
    ack.options.sack = SackBlocks::new();
    ack.options.sack.push(IRS, IRS + 1);
    lone.recv(&ack, b"");
    assert_eq!(lone.conn.state(), State::Established);
    assert_eq!(lone.conn.stats().ece_received, 1, "one mark, by the counter");
}

#[test]
fn a_transfer_over_a_marking_path_tells_every_mark() {
    let with = |ecn| Config {
        ecn,
        ..Config::default()
    };
    let mut pair = Pair::connected_with(with(EcnPolicy::Accurate), with(EcnPolicy::AccuratePassive));
    let marks = Rc::new(RefCell::new(0u32));
    let count = Rc::clone(&marks);
    let mut seen = 0;
    pair.on_way = Box::new(move |packet| {
        if packet.segment.ecn != Ecn::NotEct {
            seen += 1;
            if seen % 40 == 0 {
                packet.segment.ecn = Ecn::Ce;
                *count.borrow_mut() += 1;
            }
        }
    });
    pair.ends[A].to_send = text(1, 2_000_000);
    pair.settle();
    pair.assert_delivered();
    let (a, b) = (pair.ends[A].conn().stats(), pair.ends[B].conn().stats());
    assert_eq!((a.retransmits, a.fast_recoveries), (0, 0), "nothing was lost");
    assert_eq!(b.ce_received, *marks.borrow(), "each mark was seen");
    assert_eq!(a.ece_received, *marks.borrow(), "and told, exactly");
    assert!(
        a.ssthresh < 100 * u32::from(a.mss),
        "the window was reduced: {}",
        a.ssthresh
    );
}

#[test]
fn flags_that_are_wiped_cost_no_more_than_the_marks() {
    let with = |ecn| Config {
        ecn,
        ..Config::default()
    };
    // On everything, and on all but the handshake.
    for spares_syns in [false, true] {
        let mut pair = Pair::new(with(EcnPolicy::Accurate), with(EcnPolicy::Accurate));
        pair.on_way = Box::new(move |packet| {
            if !(spares_syns && packet.has(SYN)) {
                packet.segment.flags = packet.segment.flags.without(ace(7));
            }
        });
        let mut n = 0;
        pair = pair.with_fate(move |_| {
            n += 1;
            if n % 50 == 0 { vec![] } else { vec![DELAY] }
        });
        pair.open(A);
        pair.send_both(300_000);
        assert!(pair.drive(Duration::from_secs(300), |pair| pair.is_delivered()));
        pair.assert_delivered();
        let marked = pair.sent_by(B).filter(|p| p.segment.ecn != Ecn::NotEct).count();
        assert_eq!(marked, 0, "the end that answered knows by the final ACK");
    }
}
