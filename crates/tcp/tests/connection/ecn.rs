//! Explicit congestion notification (RFC 3168): agreed on, echoed, obeyed.

use std::cell::RefCell;
use std::rc::Rc;

use crore_base::Duration;
use crore_tcp::{Config, EcnMode, EcnPolicy};
use crore_wire::{Ecn, Flags, Segment};

use crate::lone::{ACK, FIN, Lone, MSS, SYN, plain, seg, syn};
use crate::loss::sacks;
use crate::pair::{A, B, DELAY, Packet, Pair, text};

const SETUP: Flags = Flags::ECE.union(Flags::CWR);

fn config(ecn: EcnPolicy) -> Config {
    Config { ecn, ..plain() }
}

/// Established by the peer's ECN-setup SYN.
fn agreed() -> Lone {
    let first = Segment {
        flags: SYN | SETUP,
        ..syn()
    };
    let mut lone = Lone::answering(config(EcnPolicy::Passive), &first);
    let (answer, _) = lone.out_raw()[0].clone();
    assert_eq!(answer.flags, SYN | ACK | Flags::ECE, "ECN-setup SYN-ACK");
    assert_eq!(answer.ecn, Ecn::NotEct, "a SYN-ACK is not marked");
    lone.recv(&seg(ACK, 1, 1), b"");
    lone.events();
    lone
}

fn marked(seq: u32, ecn: Ecn, more: Flags) -> Segment {
    Segment {
        ecn,
        ..seg(ACK | more, seq, 1)
    }
}

fn sent(lone: &mut Lone) -> Vec<(Flags, Ecn, usize)> {
    let all = lone.out_raw();
    all.iter()
        .map(|(s, p)| (s.flags.without(Flags::PSH), s.ecn, p.len()))
        .collect()
}

#[test]
fn every_pair_of_policies_agrees_on_what_both_can() {
    use EcnPolicy::{Accurate, AccuratePassive, Off, On, Passive};
    for (client, server, mode) in [
        (Off, On, EcnMode::Off),
        (Passive, On, EcnMode::Off),
        (On, Off, EcnMode::Off),
        (On, Passive, EcnMode::Classic),
        (On, On, EcnMode::Classic),
        (On, AccuratePassive, EcnMode::Classic),
        (On, Accurate, EcnMode::Classic),
        (Accurate, Off, EcnMode::Off),
        (Accurate, Passive, EcnMode::Classic),
        (Accurate, On, EcnMode::Classic),
        (AccuratePassive, Accurate, EcnMode::Off),
        (Accurate, AccuratePassive, EcnMode::Accurate),
        (Accurate, Accurate, EcnMode::Accurate),
    ] {
        let with = |ecn| Config {
            ecn,
            ..Config::default()
        };
        let mut pair = Pair::connected_with(with(client), with(server));
        for end in [A, B] {
            let agreed = pair.ends[end].conn().stats().ecn;
            assert_eq!(agreed, mode, "{client:?} opens to {server:?}");
        }
    }
}

#[test]
fn a_syn_ack_that_reflects_both_flags_means_no_ecn() {
    let mut lone = Lone::opening(config(EcnPolicy::On));
    assert_eq!(lone.out()[0].flags, SYN | SETUP, "it is offered");
    lone.recv(&seg(SYN | ACK | SETUP, 0, 1), b"");
    assert_eq!(lone.conn.stats().ecn, EcnMode::Off);
}

#[test]
fn a_lost_syn_is_sent_again_without_ecn_and_then_there_is_none() {
    let mut lone = Lone::opening(config(EcnPolicy::On));
    lone.out();
    let wait = lone.wait();
    lone.pass(wait);
    assert_eq!(
        lone.out()[0].flags,
        SYN,
        "something may drop what it does not know"
    );
    // The answer to the first one, late.
    lone.recv(&seg(SYN | ACK | Flags::ECE, 0, 1), b"");
    assert_eq!(lone.conn.stats().ecn, EcnMode::Off, "a SYN without it was sent");
}

#[test]
fn a_syn_that_comes_again_without_ecn_ends_it() {
    let first = Segment {
        flags: SYN | SETUP,
        ..syn()
    };
    let mut lone = Lone::answering(config(EcnPolicy::Passive), &first);
    lone.out();
    lone.recv(&syn(), b"");
    assert_eq!(lone.out()[0].flags, SYN | ACK, "the answer has none either");
    assert_eq!(lone.conn.stats().ecn, EcnMode::Off);
}

#[test]
fn only_new_data_goes_out_marked() {
    let mut lone = agreed();
    lone.conn.write(&text(1, 2 * usize::from(MSS))).expect("open");
    let data = (ACK, Ecn::Ect0, usize::from(MSS));
    assert_eq!(sent(&mut lone), [data, data], "new data");
    lone.recv(&marked(1, Ecn::NotEct, Flags::NONE), b"x");
    assert_eq!(sent(&mut lone), [(ACK, Ecn::NotEct, 0)], "a bare acknowledgment");
    let wait = lone.wait();
    lone.pass(wait);
    assert_eq!(sent(&mut lone)[0].1, Ecn::NotEct, "a retransmission");
    lone.recv(&seg(ACK, 2, 1 + 2 * u32::from(MSS)), b"");
    lone.conn.shutdown_write();
    assert_eq!(
        sent(&mut lone),
        [(ACK | FIN | Flags::NONE, Ecn::NotEct, 0)],
        "a bare FIN"
    );
}

#[test]
fn a_window_probe_is_not_marked() {
    let mut lone = agreed();
    lone.recv(
        &Segment {
            window: 0,
            ..seg(ACK, 1, 1)
        },
        b"",
    );
    lone.conn.write(b"hello").expect("open");
    assert_eq!(sent(&mut lone), [], "the window is shut");
    let wait = lone.wait();
    lone.pass(wait);
    let probe = sent(&mut lone);
    assert_eq!((probe[0].1, probe[0].2), (Ecn::NotEct, 1), "a probe");
}

#[test]
fn a_mark_is_echoed_until_the_peer_has_reduced() {
    let mut lone = agreed();
    lone.recv(&marked(1, Ecn::Ce, Flags::NONE), b"a");
    assert_eq!(sent(&mut lone)[0].0, ACK | Flags::ECE);
    lone.recv(&marked(2, Ecn::Ect0, Flags::NONE), b"b");
    assert_eq!(sent(&mut lone)[0].0, ACK | Flags::ECE, "on every acknowledgment");
    lone.conn.write(b"data").expect("open");
    assert_eq!(sent(&mut lone)[0].0, ACK | Flags::ECE, "on data too");
    lone.recv(&marked(3, Ecn::Ect0, Flags::CWR), b"c");
    assert_eq!(sent(&mut lone)[0].0, ACK, "the peer has reduced");
    assert_eq!(lone.conn.stats().ce_received, 1);
}

#[test]
fn a_mark_on_what_lies_outside_of_the_window_says_nothing() {
    let mut lone = agreed();
    lone.recv(&marked(1, Ecn::NotEct, Flags::NONE), b"a");
    lone.out();
    lone.recv(&marked(1, Ecn::Ce, Flags::NONE), b"a");
    lone.recv(&marked(1 << 30, Ecn::Ce, Flags::NONE), b"a");
    assert!(
        sent(&mut lone).iter().all(|s| s.0 == ACK),
        "anybody can send that"
    );
    assert_eq!(lone.conn.stats().ce_received, 0);
}

#[test]
fn an_echo_halves_nothing_twice_in_a_window_and_is_answered_by_cwr() {
    let mut lone = agreed();
    let mss = u32::from(MSS);
    lone.conn.write(&text(1, 30 * usize::from(MSS))).expect("open");
    assert_eq!(sent(&mut lone).len(), 10, "the initial window");
    let before = lone.conn.stats().cwnd;
    lone.recv(&seg(ACK | Flags::ECE, 1, 1 + mss), b"");
    let reduced = lone.conn.stats().cwnd;
    assert!(reduced < before, "{before} bytes became {reduced}");
    lone.recv(&seg(ACK | Flags::ECE, 1, 1 + 2 * mss), b"");
    assert_eq!(
        lone.conn.stats().cwnd,
        reduced,
        "the same window; and it does not grow"
    );
    lone.recv(&seg(ACK | Flags::ECE, 1, 1 + 10 * mss), b"");
    let next = sent(&mut lone);
    assert_eq!(next[0].0, ACK | Flags::CWR, "the first new data tells the peer");
    assert!(next[1..].iter().all(|s| s.0 == ACK), "and no other");
    lone.recv(&seg(ACK | Flags::ECE, 1, 1 + 11 * mss), b"");
    assert!(lone.conn.stats().cwnd < reduced, "a mark on what was sent since");
    assert_eq!(lone.conn.stats().retransmits, 0, "nothing was lost");
    assert_eq!(lone.conn.stats().ece_received, 4);
}

/// So many segments are in flight, sent a round trip ago; ECN and SACK are agreed on.
fn flight(segments: u32) -> Lone {
    let config = Config {
        sack: true,
        initial_window: 40,
        ..config(EcnPolicy::Passive)
    };
    let mut first = Segment {
        flags: SYN | SETUP,
        ..syn()
    };
    first.options.sack_permitted = true;
    let mut lone = Lone::answering(config, &first);
    lone.out();
    lone.pass(Duration::from_millis(20));
    lone.recv(&seg(ACK, 1, 1), b"");
    let len = segments as usize * usize::from(MSS);
    lone.conn.write(&text(1, len)).expect("open");
    assert_eq!(lone.data().len(), segments as usize, "all are in flight");
    lone.pass(Duration::from_millis(20));
    lone
}

fn with_echo(segment: Segment) -> Segment {
    Segment {
        flags: segment.flags | Flags::ECE,
        ..segment
    }
}

//= rfc3168#section-6.1.2 (SHOULD)
#[test]
fn a_mark_and_a_loss_in_one_window_reduce_it_once() {
    let m = u32::from(MSS);
    let mut lone = flight(20);
    lone.recv(&with_echo(seg(ACK, 1, 1 + m)), b"");
    assert_eq!(lone.conn.stats().ssthresh, 16 * m, "four fifths, for the mark");
    lone.recv(&with_echo(sacks(1 + m, &[(1 + 2 * m, 1 + 7 * m)])), b"");
    assert_eq!(lone.conn.stats().fast_recoveries, 1);
    assert_eq!(lone.data()[0].0, 1 + m, "what was lost is repaired");
    assert_eq!(lone.conn.stats().ssthresh, 16 * m, "at no further cost");
    lone.recv(&seg(ACK, 1, 1 + 20 * m), b"");
    lone.conn.write(&text(2, 16_000)).expect("open");
    assert!(lone.data().len() > 10, "the next window");
    lone.pass(Duration::from_millis(20));
    lone.recv(&sacks(1 + 20 * m, &[(1 + 21 * m, 1 + 26 * m)]), b"");
    assert!(
        lone.conn.stats().ssthresh < 16 * m,
        "which is reduced by its own loss"
    );
}

//= rfc4015#section-3.4 (MUST NOT)
#[test]
fn a_reduction_for_a_false_loss_stands_if_there_was_a_mark_as_well() {
    let m = u32::from(MSS);
    for marked in [false, true] {
        let mut lone = flight(20);
        let before = lone.conn.stats();
        lone.recv(&sacks(1, &[(1 + 2 * m, 1 + 6 * m)]), b"");
        assert_eq!(lone.data().len(), 2, "two are sent again");
        lone.pass(Duration::from_millis(5));
        let all = seg(ACK, 1, 1 + 20 * m);
        lone.recv(&if marked { with_echo(all) } else { all }, b"");
        let reduced = lone.conn.stats();
        assert!(reduced.ssthresh < before.ssthresh, "for a loss");
        lone.recv(&sacks(1 + 20 * m, &[(1, 1 + m)]), b"");
        lone.recv(&sacks(1 + 20 * m, &[(1 + m, 1 + 2 * m)]), b"");
        let after = lone.conn.stats();
        assert_eq!(after.spurious, 1, "which was none");
        assert_eq!(after.ssthresh == before.ssthresh, !marked, "{}", after.ssthresh);
    }
}

//= rfc3168#section-6.1.2 (SHOULD)
#[test]
fn a_mark_after_a_reduction_that_was_undone_reduces() {
    let m = u32::from(MSS);
    let mut lone = flight(20);
    let before = lone.conn.stats();
    lone.wait();
    while lone.conn.stats().timeouts == 0 {
        lone.out();
        lone.wait();
    }
    lone.out();
    // The first copies are on their way.
    lone.recv(&sacks(1, &[(1 + m, 1 + 3 * m)]), b"");
    let undone = lone.conn.stats();
    assert_eq!((undone.spurious, undone.ssthresh), (1, before.ssthresh));
    lone.recv(&with_echo(sacks(1, &[(1 + m, 1 + 5 * m)])), b"");
    assert!(lone.conn.stats().ssthresh < before.ssthresh, "for the mark");
}

#[test]
fn a_reduction_for_a_loss_is_told_too_by_the_first_new_data() {
    let mut lone = agreed();
    let mss = u32::from(MSS);
    lone.conn.write(&text(1, 30 * usize::from(MSS))).expect("open");
    lone.out();
    let wait = lone.wait();
    lone.pass(wait);
    let again = sent(&mut lone);
    assert_eq!(
        (again[0].0, again[0].1),
        (ACK, Ecn::NotEct),
        "the retransmission has neither"
    );
    lone.recv(&seg(ACK, 1, 1 + 10 * mss), b"");
    assert_eq!(sent(&mut lone)[0].0, ACK | Flags::CWR);
}

#[test]
fn without_agreement_marks_and_flags_mean_nothing() {
    let mut lone = Lone::established(config(EcnPolicy::Passive));
    lone.recv(&marked(1, Ecn::Ce, Flags::CWR), b"a");
    assert_eq!(sent(&mut lone), [(ACK, Ecn::NotEct, 0)]);
    lone.conn.write(b"data").expect("open");
    let before = lone.conn.stats().cwnd;
    assert_eq!(sent(&mut lone), [(ACK, Ecn::NotEct, 4)]);
    lone.recv(&seg(ACK | Flags::ECE, 2, 5), b"");
    assert!(lone.conn.stats().cwnd >= before);
}

/// Marks every `every`th marked segment of A's, as a router that is congested.
fn marking(every: usize) -> impl FnMut(&mut Packet) -> bool {
    let mut seen = 0;
    move |packet| {
        if packet.from != A || packet.segment.ecn == Ecn::NotEct {
            return false;
        }
        seen += 1;
        let marks = seen % every == 0;
        if marks {
            packet.segment.ecn = Ecn::Ce;
        }
        marks
    }
}

#[test]
fn a_transfer_over_a_marking_path_slows_down_and_loses_nothing() {
    let with = |ecn| Config {
        ecn,
        ..Config::default()
    };
    let mut pair = Pair::connected_with(with(EcnPolicy::On), with(EcnPolicy::Passive));
    let marks = Rc::new(RefCell::new(0));
    let count = Rc::clone(&marks);
    let mut mark = marking(50);
    pair.on_way = Box::new(move |packet| *count.borrow_mut() += usize::from(mark(packet)));
    pair.ends[A].to_send = text(1, 2_000_000);
    pair.settle();
    pair.assert_delivered();
    let (a, b) = (pair.ends[A].conn().stats(), pair.ends[B].conn().stats());
    assert_eq!((a.retransmits, a.fast_recoveries), (0, 0), "nothing was lost");
    assert!(
        a.ssthresh < 100 * u32::from(a.mss),
        "the window was reduced: {}",
        a.ssthresh
    );
    assert_eq!(b.ce_received as usize, *marks.borrow(), "each mark was seen");
    assert!(a.ece_received > 0);
    let cwr = pair
        .sent_by(A)
        .filter(|p| p.has(Flags::CWR) && !p.has(SYN))
        .count();
    assert!(
        cwr > 1 && cwr <= *marks.borrow(),
        "one reduction for a mark at most: {cwr}"
    );
}

#[test]
fn a_path_that_bleaches_costs_nothing_but_the_marks() {
    let with = |ecn| Config {
        ecn,
        ..Config::default()
    };
    let mut pair = Pair::connected_with(with(EcnPolicy::On), with(EcnPolicy::On));
    pair.on_way = Box::new(|packet| packet.segment.ecn = Ecn::NotEct);
    let mut n = 0;
    pair = pair.with_fate(move |packet| {
        n += usize::from(packet.from == A);
        if packet.from == A && n % 40 == 0 {
            vec![]
        } else {
            vec![DELAY]
        }
    });
    pair.send_both(300_000);
    assert!(pair.drive(Duration::from_secs(300), |pair| pair.is_delivered()));
    pair.assert_delivered();
}
