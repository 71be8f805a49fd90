use crore_base::{Instant, SeqNum, WindowScale};
use crore_wire::{AccEcnOption, AccEcnOrder, Ecn, Flags, SackBlocks, Segment, TcpOptions};

use super::Flow;
use crate::pattern::Pattern;

const ISS: SeqNum = SeqNum(u32::MAX - 1);
const IRS: SeqNum = SeqNum(7_000);
const TOTAL: u64 = 5_000;

fn pattern() -> Pattern {
    Pattern::new(1, 0, true)
}

fn text(from: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    pattern().fill(from, &mut bytes);
    bytes
}

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// Ours; numbers are relative to the two SYNs.
fn ours(seq: u32, ack: u32, window: u16) -> Segment {
    Segment {
        seq: ISS + seq,
        ack: IRS + ack,
        flags: Flags::ACK,
        window,
        ..Segment::default()
    }
}

fn theirs(seq: u32, ack: u32, window: u16) -> Segment {
    Segment {
        seq: IRS + seq,
        ack: ISS + ack,
        flags: Flags::ACK,
        window,
        ..Segment::default()
    }
}

/// A flow whose handshake is over: we may send 1,000 bytes, the peer 2,000.
fn open() -> Flow {
    let mut flow = Flow::new(pattern(), TOTAL);
    let options = TcpOptions {
        sack_permitted: true,
        window_scale: Some(WindowScale::ZERO),
        ..TcpOptions::default()
    };
    let syn = |seq, ack, flags| Segment {
        seq,
        ack,
        flags,
        window: 1_000,
        options,
        ..Segment::default()
    };
    flow.on_sent(at(0), &syn(ISS, SeqNum(0), Flags::SYN), &[])
        .expect("a SYN");
    flow.on_received(&syn(IRS, ISS + 1, Flags::SYN | Flags::ACK), 0);
    flow.on_sent(at(1), &ours(1, 1, 2_000), &[]).expect("its answer");
    flow
}

fn refused(flow: &mut Flow, seg: &Segment, bytes: &[u8], why: &str) {
    let said = flow.on_sent(at(2), seg, bytes);
    let what = said.expect_err(why);
    assert!(what.contains(why), "{what:?} names {why:?}");
}

#[test]
fn what_is_right_is_not_whistled() {
    let mut flow = open();
    assert!(!flow.awaits_acknowledgment(), "nothing is out");
    flow.on_sent(at(2), &ours(1, 1, 2_000), &text(0, 500))
        .expect("text");
    assert!(flow.awaits_acknowledgment(), "500 bytes are");
    flow.on_sent(at(3), &ours(201, 1, 2_000), &text(200, 300))
        .expect("some of it again");
    flow.on_received(&theirs(1, 501, 1_000), 100);
    assert!(!flow.awaits_acknowledgment(), "they have arrived");
    flow.on_sent(at(4), &ours(501, 101, 1_900), &text(500, 1_000))
        .expect("a window full");
    flow.on_sent(at(5), &ours(1501, 101, 1_900), &text(1500, 1))
        .expect("and a probe");
}

//= rfc7413#section-4.2.2 (MUST)
#[test]
fn what_a_syn_carries_is_judged_as_all_text_is() {
    let syn = |seq, flags| Segment {
        seq,
        flags,
        window: 1_000,
        ..Segment::default()
    };
    let mut flow = Flow::new(pattern(), TOTAL);
    flow.on_sent(at(0), &syn(ISS, Flags::SYN), &text(0, 500))
        .expect("its first bytes");
    let mut syn_ack = syn(IRS, Flags::SYN | Flags::ACK);
    syn_ack.ack = ISS + 501;
    flow.on_received(&syn_ack, 0);
    flow.on_sent(at(1), &ours(501, 1, 2_000), &text(500, 1_000))
        .expect("the window begins behind what was acknowledged");
    for (bytes, why) in [
        (text(1, 500), "byte 0 of its SYN"),
        (text(0, 5_001), "5001 of 5000"),
    ] {
        refused(
            &mut Flow::new(pattern(), TOTAL),
            &syn(ISS, Flags::SYN),
            &bytes,
            why,
        );
    }
    // The other end: it may answer before anything of its own is acknowledged.
    let answers = || {
        let mut flow = Flow::new(pattern(), TOTAL);
        flow.on_received(&syn(IRS, Flags::SYN), 100);
        let mut syn_ack = syn(ISS, Flags::SYN | Flags::ACK);
        syn_ack.ack = IRS + 101;
        (flow, syn_ack)
    };
    let (mut flow, syn_ack) = answers();
    flow.on_sent(at(1), &syn_ack, &[]).expect("all that has come");
    flow.on_sent(at(1), &ours(1, 101, 1_000), &text(0, 1_000))
        .expect("a window full");
    refused(
        &mut flow,
        &ours(1_001, 101, 1_000),
        &text(1_000, 2),
        "never allowed",
    );
    let (mut flow, mut beyond) = answers();
    beyond.ack = IRS + 102;
    refused(&mut flow, &beyond, &[], "acknowledges 102");
    let (mut flow, syn_ack) = answers();
    refused(&mut flow, &syn_ack, &text(0, 1), "with a SYN-ACK");
}

#[test]
fn an_acknowledgment_of_what_has_not_come_is_a_foul() {
    let mut flow = open();
    flow.on_received(&theirs(101, 1, 1_000), 100);
    refused(&mut flow, &ours(1, 201, 1_800), &[], "acknowledges 201");
    let mut flow = open();
    flow.on_received(&theirs(101, 1, 1_000), 100);
    let mut report = ours(1, 1, 2_000);
    report.options.sack = SackBlocks::default();
    assert!(report.options.sack.push(IRS + 101, IRS + 202), "room for one");
    refused(&mut flow, &report, &[], "reports 101..202");
}

#[test]
fn text_beyond_the_window_and_text_that_changes_are_fouls() {
    refused(&mut open(), &ours(1, 1, 2_000), &text(0, 1_002), "never allowed");
    let mut altered = text(0, 100);
    altered[40] ^= 1;
    refused(&mut open(), &ours(1, 1, 2_000), &altered, "byte 40");
    let mut flow = open();
    flow.on_received(&theirs(1, 1, 60_000), 0);
    refused(
        &mut flow,
        &ours(1, 1, 2_000),
        &text(0, 5_001),
        "more than the 5000",
    );
}

#[test]
fn a_fin_that_moves_and_text_behind_it_are_fouls() {
    let fin = |seq| Segment {
        flags: Flags::ACK | Flags::FIN,
        ..ours(seq, 1, 2_000)
    };
    let mut flow = open();
    flow.on_sent(at(2), &fin(1), &text(0, 10))
        .expect("ten bytes and the end");
    refused(&mut flow, &fin(1), &text(0, 11), "stands at 12");
    let mut flow = open();
    flow.on_sent(at(2), &fin(1), &text(0, 10))
        .expect("ten bytes and the end");
    refused(&mut flow, &ours(5, 1, 2_000), &text(4, 20), "behind its FIN");
}

#[test]
fn a_window_taken_back_is_a_foul() {
    refused(&mut open(), &ours(1, 1, 1_999), &[], "takes its window back");
}

#[test]
fn saying_the_same_without_end_is_a_foul() {
    let mut flow = open();
    flow.on_received(&theirs(1, 1, 1_000), 0);
    let again = |flow: &mut Flow| (0..200).try_for_each(|_| flow.on_sent(at(3), &ours(1, 1, 2_000), &[]));
    assert!(again(&mut flow).is_err(), "200 times in a moment");
    let mut flow = open();
    for ms in 0..200 {
        flow.on_received(&theirs(101, 1, 1_000), 100);
        flow.on_sent(at(ms), &ours(1, 1, 2_000), &[])
            .expect("each answers a segment");
    }
    let mut flow = open();
    for count in 0..200 {
        let told = if count % 2 == 0 { Flags::ECE } else { Flags::CWR };
        let tells = Segment {
            flags: Flags::ACK | told,
            ..ours(1, 1, 2_000)
        };
        flow.on_sent(at(3), &tells, &[])
            .expect("each tells of another mark");
    }
    let mut flow = open();
    for count in 0..200 {
        flow.on_received(
            &Segment {
                ecn: Ecn::Ce,
                ..theirs(1, 1, 1_000)
            },
            1,
        );
        flow.on_sent(at(3), &counting(&[1, count % 2]), &[])
            .expect("each tells of another byte with a mark");
    }
    let mut flow = open();
    (0..150).for_each(|_| flow.on_received(&theirs(101, 1, 1_000), 100));
    for n in 0..100 {
        flow.on_sent(at(3), &ours(1 + n, 1, 2_000), &text(n.into(), 1))
            .expect("text of its own answers none of them");
    }
    for _ in 0..150 {
        flow.on_sent(at(3), &ours(101, 1, 2_000), &[])
            .expect("each answers a segment");
    }
}

/// An acknowledgment with these counters of bytes by mark.
fn counting(counters: &[u32]) -> Segment {
    let mut seg = ours(1, 1, 2_000);
    seg.options.accurate_ecn = Some(AccEcnOption::new(AccEcnOrder::Ect0First, counters));
    seg
}

#[test]
fn marks_that_have_not_come_and_counters_before_the_first_segment_are_fouls() {
    for (ecn, told, lie) in [
        (Ecn::Ect0, [101, 0, 1], [102, 0, 1]),
        (Ecn::Ce, [1, 100, 1], [1, 101, 1]),
        (Ecn::Ect1, [1, 0, 101], [1, 0, 0]),
    ] {
        let mut flow = open();
        flow.on_received(
            &Segment {
                ecn,
                ..theirs(201, 1, 1_000)
            },
            100,
        );
        flow.on_sent(at(2), &counting(&told), &[])
            .expect("all that has come");
        flow.on_sent(at(2), &counting(&told[..1]), &[])
            .expect("some of it");
        refused(&mut flow, &counting(&lie), &[], "with a mark");
    }
    let mut syn = counting(&[1, 0, 1]);
    syn.flags = Flags::SYN;
    let mut flow = Flow::new(pattern(), TOTAL);
    refused(&mut flow, &syn, &[], "before it has heard any");
}

#[test]
fn a_connection_begins_where_its_syn_ends() {
    let mut flow = Flow::new(pattern(), TOTAL);
    let syn = Segment {
        seq: ISS,
        flags: Flags::SYN,
        ..Segment::default()
    };
    flow.on_sent(at(0), &syn, &[]).expect("a SYN");
    flow.on_received(&theirs(0, 1, 1_000), 0);
    let early = Segment {
        flags: Flags::NONE,
        ..ours(0x4000_0000, 1, 2_000)
    };
    refused(&mut flow, &early, &[], "follows none of its SYNs");
}
