//! Several segments in one plan, and several in one that came. That nobody can tell
//! by what is sent is shown in crate `stack`. Numbers are relative, as in `lone.rs`.

use crore_base::Duration;
use crore_tcp::{Config, EcnPolicy, Plan};
use crore_wire::Flags;

use crate::lone::{ACK, Lone, MSS, plain, seg};

const M: u32 = MSS as u32;

/// A congestion window of 40 segments.
fn config() -> Config {
    Config {
        initial_window: 40,
        ..plain()
    }
}

/// With the first full segment gone through, whose fate is of interest for itself.
fn established(config: Config) -> Lone {
    let mut lone = Lone::established(config);
    lone.conn.write(&[b'x'; MSS as usize]).expect("open");
    lone.out();
    lone.recv(&seg(ACK, 1, 1 + M), b"");
    lone
}

/// What would be sent next, made as large as may be.
fn large(lone: &Lone, most: u16) -> Plan {
    let mut plan = lone.conn.plan_transmit(lone.now).expect("there is something");
    lone.conn.enlarge(lone.now, &mut plan, most);
    plan
}

/// Segments, bytes of all, and whether the last is pushed.
fn shape(plan: &Plan) -> (u16, u16, bool) {
    let count = match plan.segment_len {
        0 => 1,
        len => plan.payload_len / len,
    };
    (count, plan.payload_len, plan.segment.flags.contains(Flags::PSH))
}

#[test]
fn full_segments_of_new_data_go_together_as_far_as_all_limits_let() {
    let mut lone = established(config());
    lone.conn.write(&[b'x'; 10_500]).expect("open");
    assert_eq!(
        shape(&large(&lone, 64)),
        (10, 10_000, false),
        "the rest follows alone"
    );
    assert_eq!(
        shape(&large(&lone, 3)),
        (3, 3_000, false),
        "as many as were asked for"
    );
    assert_eq!(shape(&large(&lone, 1)), (1, 1_000, false));
    let plan = large(&lone, 64);
    lone.conn.commit_transmit(lone.now, &plan);
    assert_eq!(shape(&large(&lone, 64)), (1, 500, true), "less than a full one");
    lone.out();
    assert_eq!(lone.conn.stats().in_flight, 10_500);

    let mut lone = established(config());
    lone.conn.write(&[b'x'; 60_000]).expect("open");
    let window = lone.conn.stats().cwnd as u16;
    assert_eq!(
        shape(&large(&lone, 64)),
        (window / MSS, window / MSS * MSS, false),
        "congestion"
    );
    let mut narrow = seg(ACK, 1, 1 + M);
    narrow.window = 5_300;
    lone.recv(&narrow, b"");
    assert_eq!(shape(&large(&lone, 64)), (5, 5_000, false), "the peer's window");

    let mut lone = established(config());
    lone.conn.write(&[b'x'; 4_000]).expect("open");
    assert_eq!(
        shape(&large(&lone, 64)),
        (4, 4_000, true),
        "all that there is is pushed"
    );
    lone.conn.shutdown_write();
    assert_eq!(
        shape(&large(&lone, 64)),
        (3, 3_000, false),
        "the FIN goes with the last one"
    );
}

#[test]
fn a_large_plan_can_be_cut_short() {
    let mut lone = established(config());
    lone.conn.write(&[b'x'; 4_000]).expect("open");
    let mut plan = large(&lone, 64);
    plan.keep(3);
    assert_eq!(
        shape(&plan),
        (3, 3_000, false),
        "nothing is pushed that does not end it"
    );
    let mut bytes = vec![0; 1_000];
    lone.conn.copy_payload_from(&plan, 2_000, &mut bytes);
    assert_eq!(bytes, [b'x'; 1_000], "the third one's");
    lone.conn.commit_transmit(lone.now, &plan);
    lone.conn.assert_invariants();
    assert_eq!(lone.data(), [(1 + M + 3_000, 1_000)], "the rest");
}

#[test]
fn what_needs_a_look_in_between_goes_one_by_one() {
    let alone = |lone: &Lone, why: &str| assert_eq!(shape(&large(lone, 64)).0, 1, "{why}");
    let written = |config: Config| {
        let mut lone = established(config);
        lone.conn.write(&[b'x'; 9_000]).expect("open");
        lone
    };
    alone(
        &written(Config {
            pacing: true,
            ..config()
        }),
        "a pace",
    );

    let mut lone = Lone::established(config());
    lone.conn.write(&[b'x'; 9_000]).expect("open");
    alone(&lone, "the first one shows whether the path bears that size");

    let mut lone = written(config());
    lone.out();
    lone.conn.write(&[b'x'; 9_000]).expect("open");
    lone.recv(&seg(ACK, 1, 1 + M), b"");
    alone(&lone, "limited transmit");
    for _ in 0..2 {
        lone.recv(&seg(ACK, 1, 1 + M), b"");
    }
    alone(&lone, "a repair");
    lone.wait();
    alone(&lone, "after a time-out");

    let ecn = Config {
        ecn: EcnPolicy::On,
        ..config()
    };
    let mut first = crate::lone::syn();
    first.flags = Flags::SYN | Flags::ECE | Flags::CWR;
    let mut lone = Lone::answering(ecn, &first);
    lone.out();
    lone.recv(&seg(ACK, 1, 1), b"");
    lone.conn.write(&[b'x'; 1_000]).expect("open");
    lone.out();
    lone.recv(&seg(ACK | Flags::ECE, 1, 1 + M), b"");
    lone.conn.write(&[b'x'; 9_000]).expect("open");
    let plan = large(&lone, 64);
    assert!(plan.segment.flags.contains(Flags::CWR), "the window was reduced");
    assert_eq!(shape(&plan).0, 1, "which one segment tells");
    lone.conn.commit_transmit(lone.now, &plan);
    let others = lone.out_raw();
    assert!(
        !others
            .iter()
            .any(|(segment, _)| segment.flags.contains(Flags::CWR)),
        "and no other"
    );
}

//= rfc9293#section-3.8.6.3 (SHOULD)
#[test]
fn what_a_nic_has_put_together_is_acknowledged_at_once() {
    let delayed = Config {
        delayed_ack: Duration::from_millis(40),
        ..plain()
    };
    for (len, said) in [(1_000, ""), (1_001, "ACK"), (3_000, "ACK")] {
        let mut lone = Lone::established(delayed.clone());
        lone.recv(&seg(ACK, 1, 1), &vec![b'x'; len]);
        assert_eq!(lone.said(), said, "{len} bytes, of at most 1,000 in a segment");
    }
}
