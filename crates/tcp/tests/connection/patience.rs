//! How long a peer is borne: user time-outs, keepalives, stuck windows, closes
//! that take their time.

use std::rc::Rc;

use crore_base::Duration;
use crore_tcp::{CloseReason, Config, Event, Keepalive, State, Unreachable};
use crore_wire::Segment;

use crate::lone::{ACK, FIN, Lone, RST, plain, seg};
use crate::pair::{A, B, DELAY, Pair};

const SECOND: Duration = Duration::from_secs(1);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Waits for timers until the connection is over; says for how long, how many
/// segments were sent meanwhile, and why it ended.
fn wait_for_end(lone: &mut Lone) -> (Duration, usize, Event) {
    let (began, mut sent) = (lone.now, 0);
    while lone.conn.state() != State::Closed {
        sent += lone.out().len();
        lone.wait();
    }
    let event = lone.events().pop().expect("an end is told");
    (lone.now.since(began), sent, event)
}

/// Answers every probe with a shut window until the connection ends; says for how
/// long, and how many probes there were.
fn answer_shut(lone: &mut Lone, most: usize) -> (Duration, usize) {
    let shut = Segment {
        window: 0,
        ..seg(ACK, 1, 1)
    };
    lone.recv(&shut, b"");
    let (began, mut probes) = (lone.now, 0);
    while lone.conn.state() != State::Closed && probes < most {
        lone.wait();
        if lone.conn.state() == State::Closed {
            break;
        }
        for _ in lone.data() {
            probes += 1;
            lone.recv(&shut, b"");
        }
    }
    (lone.now.since(began), probes)
}

//= rfc9293#section-3.9.1.2 (MAY)
#[test]
fn a_user_time_out_ends_what_stays_unacknowledged() {
    for limit in [1, 3, 30, 100] {
        let config = Config {
            user_timeout: Some(seconds(limit)),
            ..plain()
        };
        let mut lone = Lone::established(config);
        lone.pass(seconds(1_000));
        lone.conn.write(b"hello").expect("open");
        let (took, sent, end) = wait_for_end(&mut lone);
        assert_eq!(end, Event::Closed(CloseReason::UserTimedOut), "{limit} s");
        assert!(sent >= 2, "{limit} s: it was tried more than once");
        // The first time-out is not cut short.
        let expected = seconds(limit).max(SECOND);
        assert!(
            took >= expected && took <= expected + SECOND,
            "{limit} s: after {took:?}"
        );
    }
}

#[test]
fn an_acknowledgment_begins_the_user_time_out_anew() {
    let config = Config {
        user_timeout: Some(seconds(3)),
        ..plain()
    };
    let mut lone = Lone::established(config);
    for n in 0..10 {
        lone.conn.write(b"x").expect("open");
        lone.out();
        // Once in vain, then it arrives.
        while lone.conn.stats().timeouts == n {
            lone.wait();
        }
        lone.out();
        lone.recv(&seg(ACK, 1, 2 + n), b"");
        assert_eq!(lone.conn.state(), State::Established, "byte {n} has arrived");
    }
    lone.conn.write(b"x").expect("open");
    let (_, _, end) = wait_for_end(&mut lone);
    assert_eq!(end, Event::Closed(CloseReason::UserTimedOut), "then nothing does");
}

//= rfc6429#section-3 (MAY)
#[test]
fn a_user_time_out_ends_what_waits_before_a_shut_window() {
    let config = Config {
        user_timeout: Some(seconds(20)),
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(b"hello").expect("open");
    let (took, probes) = answer_shut(&mut lone, 1_000);
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::UserTimedOut)],
        "though the peer answers"
    );
    assert!(
        probes > 2 && took >= seconds(20) && took <= seconds(22),
        "{took:?}"
    );
}

#[test]
fn a_window_that_opens_in_between_ends_the_wait_before_it() {
    let config = Config {
        user_timeout: Some(seconds(20)),
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(&[7; 3_000]).expect("open");
    let window = |window| Segment {
        window,
        ..seg(ACK, 1, 1)
    };
    lone.recv(&window(0), b"");
    for _ in 0..4 {
        lone.wait();
        lone.out();
    }
    // It opens, and shuts again before anything was taken.
    lone.recv(&window(3_000), b"");
    lone.recv(&window(0), b"");
    let (took, _) = answer_shut(&mut lone, 1_000);
    assert!(took >= seconds(19), "the wait began anew: {took:?}");
}

//= rfc9293#section-3.8.6.1 (MUST)
//= rfc6429#section-3 (MAY)
#[test]
fn a_window_that_stays_shut_is_borne_for_ever_or_as_long_as_configured() {
    let mut lone = Lone::established(plain());
    lone.conn.write(b"hello").expect("open");
    assert_eq!(answer_shut(&mut lone, 200).1, 200, "probed without end");
    assert_eq!(lone.conn.state(), State::Established, "and without complaint");

    let config = Config {
        persist_timeout: Some(seconds(300)),
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(b"hello").expect("open");
    let (took, _) = answer_shut(&mut lone, 200);
    assert!((300..=360).contains(&(took.as_millis() / 1_000)), "{took:?}");
    assert_eq!(lone.events(), [Event::Closed(CloseReason::TimedOut)], "told");
    assert_eq!(lone.said(), "RST@1", "the peer, which is there, is told as well");
}

/// Protects memory from peers that never let a closed connection end.
#[test]
fn a_closed_connection_is_not_probed_for_ever() {
    let mut lone = Lone::established(plain());
    lone.conn.write(b"hello").expect("open");
    lone.conn.close(lone.now);
    assert!(lone.conn.is_orphan(), "nobody stands behind it");
    let (_, probes) = answer_shut(&mut lone, 200);
    assert_eq!(probes, 8, "though the peer answers");
    assert_eq!(lone.said(), "RST@1", "it is told");
    assert!(!lone.conn.is_orphan(), "over");
    // Without any answer the limit is the same.
    let config = Config {
        orphan_retries: 3,
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.close(lone.now);
    let (_, fins, end) = wait_for_end(&mut lone);
    assert_eq!(
        (fins, end),
        (4, Event::Closed(CloseReason::TimedOut)),
        "one and three more"
    );
}

//= rfc9293#section-3.8.4 (MUST)
#[test]
fn keepalives_come_when_and_as_often_as_configured() {
    let config = Config {
        keepalive: Keepalive {
            on: true,
            idle: seconds(50),
            interval: seconds(7),
            count: 3,
        },
        ..plain()
    };
    let mut lone = Lone::established(config);
    let waits: Vec<_> = (0..4)
        .map(|_| {
            let waited = lone.wait();
            lone.out();
            waited
        })
        .collect();
    assert_eq!(waits, [50, 7, 7, 7].map(seconds), "idle, then three intervals");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::KeepaliveTimedOut)],
        "the end"
    );
    assert_eq!(lone.conn.stats().keepalives, 3, "three were sent");
}

#[test]
fn a_user_time_out_takes_the_place_of_the_keepalives_count() {
    for (limit, probes) in [(200, 16), (60, 2), (10, 1)] {
        let config = Config {
            keepalive: Keepalive {
                on: true,
                idle: seconds(50),
                interval: seconds(10),
                count: 3,
            },
            user_timeout: Some(seconds(limit)),
            ..plain()
        };
        let mut lone = Lone::established(config);
        let (took, _, end) = wait_for_end(&mut lone);
        assert_eq!(end, Event::Closed(CloseReason::UserTimedOut), "{limit} s");
        assert_eq!(
            lone.conn.stats().keepalives,
            probes - u32::from(limit > 50),
            "{limit} s"
        );
        assert!(took >= seconds(limit.max(50)), "{limit} s: {took:?}");
    }
}

//= rfc9293#section-3.9.1 (MUST)
#[test]
fn a_close_without_time_is_an_abort() {
    let config = Config {
        linger: Some(Duration::ZERO),
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(b"never mind").expect("open");
    lone.conn.close(lone.now);
    assert_eq!(lone.said(), "RST@1", "at once, and nothing else");
    assert_eq!(lone.events(), [Event::Closed(CloseReason::Aborted)], "aborted");
    assert!(lone.conn.is_closed(), "gone");
}

#[test]
fn a_close_with_time_waits_for_the_peers_acknowledgment() {
    let config = Config {
        linger: Some(seconds(10)),
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(b"hello").expect("open");
    lone.conn.close(lone.now);
    assert!(
        lone.conn.is_lingering() && !lone.conn.is_orphan(),
        "somebody waits"
    );
    assert_eq!(lone.said(), "FIN|ACK+5", "in good order");
    lone.recv(&seg(ACK, 1, 6), b"");
    assert_eq!(lone.events(), [], "the FIN has still to arrive");
    lone.recv(&seg(ACK, 1, 7), b"");
    assert_eq!(lone.events(), [Event::Flushed], "now it has");
    assert!(!lone.conn.is_lingering(), "nobody waits any more");
    lone.pass(seconds(20));
    assert_eq!(lone.conn.state(), State::FinWait2, "the rest takes its course");
    lone.recv(&seg(FIN | ACK, 1, 7), b"");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::Finished)],
        "to the end"
    );
}

#[test]
fn a_close_that_takes_longer_than_it_may_is_cut_off() {
    let config = Config {
        linger: Some(seconds(10)),
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(b"hello").expect("open");
    lone.conn.close(lone.now);
    let (took, _, end) = wait_for_end(&mut lone);
    assert_eq!(
        (took, end),
        (seconds(10), Event::Closed(CloseReason::LingerTimedOut))
    );
    assert_eq!(lone.said(), "RST@7", "the peer is told");
    assert!(lone.conn.is_closed(), "gone");
}

#[test]
fn why_a_connection_ended_can_be_told_apart() {
    type Fate = fn(&mut Lone);
    let cases: [(CloseReason, State, Fate); 7] = [
        (CloseReason::Refused, State::SynSent, |l| {
            l.recv(&seg(RST | ACK, 0, 1), b"");
        }),
        (CloseReason::Refused, State::SynSent, |l| {
            l.conn.on_unreachable(l.now, Unreachable::Port, true);
        }),
        (CloseReason::NetworkUnreachable, State::SynSent, |l| {
            l.conn.on_unreachable(l.now, Unreachable::Network, true);
        }),
        (CloseReason::ProtocolUnreachable, State::SynSent, |l| {
            l.conn.on_unreachable(l.now, Unreachable::Protocol, true);
        }),
        (CloseReason::OpenTimedOut, State::SynSent, |l| {
            while l.conn.state() != State::Closed {
                l.out();
                l.wait();
            }
        }),
        (CloseReason::ResetByPeer, State::Established, |l| {
            l.recv(&seg(RST, 1, 0), b"");
        }),
        // What the network said when nothing more came counts in the end.
        (CloseReason::NetworkUnreachable, State::Established, |l| {
            l.conn.write(b"x").expect("open");
            l.conn.on_unreachable(l.now, Unreachable::Network, false);
            while l.conn.state() != State::Closed {
                l.out();
                l.wait();
            }
        }),
    ];
    for (reason, state, fate) in cases {
        let mut lone = Lone::in_state(state, plain());
        fate(&mut lone);
        assert_eq!(lone.events(), [Event::Closed(reason)], "in {state:?}");
    }
}

/// Simulation: on a lossy path nobody is given up who makes progress; when the
/// path breaks for good, the one with data is, in time, and the idle one by its
/// keepalive.
#[test]
fn on_a_bad_path_only_those_are_given_up_that_make_no_progress() {
    for seed in 0..40u64 {
        let a = Config {
            user_timeout: Some(seconds(30)),
            ..Config::default()
        };
        let b = Config {
            keepalive: Keepalive {
                on: true,
                idle: seconds(20),
                interval: seconds(5),
                count: 4,
            },
            cork: seed % 2 == 0,
            ..Config::default()
        };
        let mut pair = Pair::connected_with(a, b);
        let mut dice = crate::chaos::Dice::new(seed);
        pair.fate = Box::new(move |_| if dice.below(100) < 8 { vec![] } else { vec![DELAY] });
        pair.send_both(200_000);
        pair.drive(seconds(3_000), |pair| pair.is_delivered());
        pair.assert_delivered();
        pair.run_for(seconds(100));
        assert_eq!(pair.ends[A].closed(), None, "seed {seed}: progress keeps it");
        assert_eq!(pair.ends[B].closed(), None, "seed {seed}: answers keep it");
        pair.fate = Box::new(|_| vec![]);
        pair.ends[A].to_send.push(1);
        pair.run_for(seconds(100));
        assert_eq!(
            pair.ends[A].closed(),
            Some(CloseReason::UserTimedOut),
            "seed {seed}"
        );
        assert_eq!(
            pair.ends[B].closed(),
            Some(CloseReason::KeepaliveTimedOut),
            "seed {seed}"
        );
    }
}

/// Protects an application that changes its mind from being believed too late.
#[test]
fn options_that_are_changed_count_at_once() {
    let mut lone = Lone::established(plain());
    lone.conn.write(b"hello").expect("open");
    lone.out();
    lone.wait();
    let hasty = Config {
        user_timeout: Some(seconds(5)),
        ..plain()
    };
    lone.conn.configure(Rc::new(hasty));
    let (took, _, end) = wait_for_end(&mut lone);
    assert_eq!(end, Event::Closed(CloseReason::UserTimedOut));
    assert!(took <= seconds(6), "{took:?}");
}
