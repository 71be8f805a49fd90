//! What each kind of segment does in each state: RFC 9293 section 3.10.7 as a
//! table, with RFC 5961's and RFC 1337's refinements.

use crore_tcp::State::{self, *};
use crore_wire::{Flags, Segment};

use crate::lone::{ACK, FIN, Lone, RST, SYN, plain, seg};

const STATES: [State; 9] = [
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
];

/// The next number that is expected of the peer.
fn nxt(state: State) -> u32 {
    match state {
        CloseWait | Closing | LastAck | TimeWait => 2,
        _ => 1,
    }
}

/// One past all that we have sent.
fn sent(state: State) -> u32 {
    match state {
        FinWait1 | FinWait2 | Closing | LastAck | TimeWait => 2,
        _ => 1,
    }
}

/// Feeds `make(state)` to a connection in each state; what follows is compared
/// with `expected`: the next state and what is sent.
fn check(what: &str, payload: &[u8], make: impl Fn(State) -> Segment, expected: [(State, &str); 9]) {
    for (state, (next, says)) in STATES.into_iter().zip(expected) {
        let mut lone = Lone::in_state(state, plain());
        lone.recv(&make(state), payload);
        let said = lone.said();
        assert_eq!(
            (lone.conn.state(), said.as_str()),
            (next, says),
            "{what} in {state:?}: the next state, and what is sent"
        );
    }
}

/// The state stays; these are the words in each.
fn stays(words: [&'static str; 9]) -> [(State, &'static str); 9] {
    let mut expected = [(Closed, ""); 9];
    for (i, state) in STATES.into_iter().enumerate() {
        expected[i] = (state, words[i]);
    }
    expected
}

//= rfc5961#section-3.2 (MUST)
//= rfc1337#section-3 (SHOULD)
#[test]
fn a_reset_that_hits_exactly_closes_all_but_time_wait() {
    check(
        "an exact reset",
        b"",
        |s| seg(RST, nxt(s), 0),
        [
            (SynSent, ""), // It does not acknowledge our SYN.
            (Closed, ""),
            (Closed, ""),
            (Closed, ""),
            (Closed, ""),
            (Closed, ""),
            (Closed, ""),
            (Closed, ""),
            (TimeWait, ""), // RFC 1337.
        ],
    );
}

//= rfc5961#section-3.2 (MUST)
#[test]
fn a_reset_one_byte_off_is_challenged() {
    check(
        "a reset one byte off",
        b"",
        |s| seg(RST, nxt(s) + 1, 0),
        stays(["", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK", ""]),
    );
}

#[test]
fn a_reset_out_of_window_is_dropped_in_silence() {
    for off in [0u32.wrapping_sub(5), 20_000, 1 << 30, 1 << 31] {
        check(
            "a reset out of window",
            b"",
            |s| seg(RST, nxt(s).wrapping_add(off), 0),
            stays([""; 9]),
        );
    }
}

//= rfc5961#section-4.2 (MUST)
#[test]
fn a_syn_in_a_connection_is_challenged() {
    check(
        "a SYN in the window",
        b"",
        |s| seg(SYN, nxt(s) + 10, 0),
        [
            (SynReceived, "SYN|ACK"), // Both open at once.
            (SynReceived, "ACK"),
            (Established, "ACK"),
            (FinWait1, "ACK"),
            (FinWait2, "ACK"),
            (CloseWait, "ACK"),
            (Closing, "ACK"),
            (LastAck, "ACK"),
            (TimeWait, ""), // To be reopened.
        ],
    );
    check(
        "a SYN out of the window",
        b"",
        |s| seg(SYN, nxt(s) + (1 << 31) + 5, 0),
        [
            (SynReceived, "SYN|ACK"),
            (SynReceived, "ACK"),
            (Established, "ACK"),
            (FinWait1, "ACK"),
            (FinWait2, "ACK"),
            (CloseWait, "ACK"),
            (Closing, "ACK"),
            (LastAck, "ACK"),
            (TimeWait, "ACK"),
        ],
    );
}

#[test]
fn an_acknowledgment_of_something_never_sent_is_refused() {
    check(
        "an ACK of the unsent",
        b"",
        |s| seg(ACK, nxt(s), sent(s) + 1),
        stays([
            "RST@2", // Old handshakes end by resets.
            "RST@2", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK", "",
        ]),
    );
}

//= rfc5961#section-5.2 (MUST)
#[test]
fn an_acknowledgment_older_than_any_window_is_refused() {
    check(
        "an ACK from the distant past",
        b"data",
        |s| seg(ACK, nxt(s), 0u32.wrapping_sub(60_000)),
        [
            (SynSent, "RST@4294907296"),
            (SynReceived, "RST@4294907296"),
            (Established, "ACK"),
            (FinWait1, "ACK"),
            (FinWait2, "ACK"),
            (CloseWait, "ACK"),
            (Closing, "ACK"),
            (LastAck, "ACK"),
            (TimeWait, "ACK"),
        ],
    );
}

#[test]
fn a_segment_without_ack_means_nothing() {
    check(
        "data without ACK",
        b"data",
        |s| seg(Flags::NONE, nxt(s), 0),
        stays([""; 9]),
    );
}

#[test]
fn data_in_order_is_acknowledged() {
    check(
        "data in order",
        b"data",
        |s| seg(ACK, nxt(s), sent(s)),
        [
            (SynSent, ""),
            (Established, "ACK"), // It completes the handshake, too.
            (Established, "ACK"),
            (FinWait2, "ACK"), // It acknowledges our FIN, too.
            (FinWait2, "ACK"),
            (CloseWait, "ACK"), // Data behind a FIN is nonsense.
            (TimeWait, "ACK"),
            (Closed, ""),
            (TimeWait, "ACK"),
        ],
    );
}

#[test]
fn a_fin_in_order_closes_the_peers_direction() {
    check(
        "a FIN",
        b"",
        |s| seg(FIN | ACK, nxt(s), sent(s)),
        [
            (SynSent, ""),
            (CloseWait, "ACK"),
            (CloseWait, "ACK"),
            (TimeWait, "ACK"),
            (TimeWait, "ACK"),
            (CloseWait, "ACK"),
            (TimeWait, "ACK"),
            (Closed, ""),
            (TimeWait, "ACK"),
        ],
    );
}

#[test]
fn a_fin_that_does_not_acknowledge_ours_crosses_it() {
    check(
        "a FIN, acknowledging only data",
        b"",
        |s| seg(FIN | ACK, nxt(s), 1),
        [
            (SynSent, ""),
            (CloseWait, "ACK"),
            (CloseWait, "ACK"),
            (Closing, "ACK"),
            (TimeWait, "ACK"),
            (CloseWait, "ACK"),
            (Closing, "ACK"),
            (LastAck, "ACK"),
            (TimeWait, "ACK"),
        ],
    );
}

#[test]
fn what_was_received_before_is_acknowledged_again() {
    check(
        "old data",
        b"x",
        |s| seg(ACK, nxt(s) - 1, sent(s)),
        stays(["", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK"]),
    );
    check(
        "a keepalive probe",
        b"",
        |s| seg(ACK, nxt(s) - 1, sent(s)),
        stays(["", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK"]),
    );
}

#[test]
fn what_lies_beyond_the_window_is_answered_and_dropped() {
    check(
        "data beyond the window",
        b"data",
        |s| seg(ACK, nxt(s) + 10_000, sent(s)),
        stays(["", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK", "ACK"]),
    );
}

#[test]
fn every_flag_combination_at_every_place_is_survived() {
    for state in STATES {
        for bits in 0..=0x1ffu16 {
            for seq in [0, 1, 2, 3, 9_999, 10_001, 1 << 31] {
                for ack in [0, 1, 2, 3, 1 << 31] {
                    for payload in [&b""[..], b"x", &[7; 1_400]] {
                        let mut lone = Lone::in_state(state, plain());
                        let segment = Segment {
                            ack: crate::lone::ISS + ack,
                            urgent: 3,
                            ..seg(Flags::from_bits(bits), seq, 0)
                        };
                        lone.recv(&segment, payload);
                        assert!(lone.out().len() <= 2, "no segment earns a flood");
                        assert!(
                            lone.conn.next_timeout().is_some()
                                || !matches!(
                                    lone.conn.state(),
                                    TimeWait | SynSent | SynReceived | LastAck | Closing
                                ),
                            "what waits for the peer has a timer"
                        );
                    }
                }
            }
        }
    }
}
