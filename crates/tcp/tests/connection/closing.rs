//! Closing: half, whole, at once, by force, and what comes after.

use crore_base::{DropReason, Duration};
use crore_tcp::{CloseReason, Config, Disposition, Event, Read, ReadError, State, WriteError};
use crore_wire::{Segment, Timestamps};

use crate::lone::{ACK, FIN, ISS, Lone, RST, SYN, plain, seg};
use crate::pair::{A, B, Pair, text};

#[test]
fn half_closed_the_other_half_goes_on() {
    for (closer, talker) in [(A, B), (B, A)] {
        let mut pair = Pair::connected();
        pair.ends[closer].to_send = b"request".to_vec();
        pair.ends[closer].finish = true;
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.ends[closer].state(), Some(State::FinWait2), "half closed");
        assert_eq!(pair.ends[talker].state(), Some(State::CloseWait), "and knows it");
        assert!(pair.ends[talker].eof, "the end was read");
        pair.ends[talker].to_send = text(7, 300_000);
        pair.ends[talker].finish = true;
        pair.run_for(Duration::from_secs(10));
        pair.assert_delivered();
        assert_eq!(
            pair.ends[closer].state(),
            Some(State::TimeWait),
            "the first closer waits"
        );
        assert_eq!(
            pair.ends[talker].closed(),
            Some(CloseReason::Finished),
            "the second does not"
        );
    }
}

#[test]
fn fins_that_cross_close_both() {
    let mut pair = Pair::connected();
    for end in &mut pair.ends {
        end.finish = true;
    }
    pair.run_for(Duration::from_secs(1));
    pair.assert_states(State::TimeWait, State::TimeWait);
}

#[test]
fn a_fin_before_its_turn_waits_for_the_hole() {
    let mut lone = Lone::established(plain());
    lone.recv(&seg(FIN | ACK, 4, 1), b"def");
    assert_eq!(lone.conn.state(), State::Established, "not yet");
    assert_eq!(lone.out()[0].ack, 1, "the hole is told");
    lone.recv(&seg(ACK, 1, 1), b"abc");
    assert_eq!(lone.conn.state(), State::CloseWait, "now");
    assert_eq!(lone.read_all(), b"abcdef", "the whole text");
    assert_eq!(lone.conn.read(), Ok(Read::Eof), "and its end");
    assert_eq!(lone.out()[0].ack, 8, "text and FIN");
}

#[test]
fn nothing_counts_behind_a_fin() {
    let mut lone = Lone::established(plain());
    lone.recv(&seg(ACK, 4, 1), b"beyond");
    lone.recv(&seg(FIN | ACK, 1, 1), b"abc");
    assert_eq!(lone.conn.state(), State::CloseWait, "the FIN stands");
    assert_eq!(lone.read_all(), b"abc", "what claims to lie behind it does not");
    lone.recv(&seg(FIN | ACK, 5, 1), b"x");
    assert_eq!(lone.out()[0].ack, 5, "nor does a second FIN");
}

#[test]
fn a_lost_fin_is_sent_again() {
    let mut pair = Pair::connected();
    let mut lost = 0;
    pair.lose(move |p| {
        lost += u32::from(p.has(FIN));
        p.has(FIN) && lost < 4
    });
    for end in &mut pair.ends {
        end.finish = true;
    }
    pair.run_for(Duration::from_secs(100));
    assert_eq!(
        pair.ends.each_ref().map(|e| e.closed()),
        [Some(CloseReason::Finished); 2],
        "both come to the end"
    );
}

//= rfc9293#section-3.10.7.4 (MUST)
#[test]
fn the_fin_again_starts_time_wait_anew() {
    let mut lone = Lone::in_state(State::TimeWait, plain());
    lone.pass(Duration::from_secs(50));
    assert_eq!(
        lone.recv(&seg(FIN | ACK, 1, 2), b""),
        Disposition::Dropped(DropReason::Duplicate),
        "seen before"
    );
    assert_eq!(lone.said(), "ACK", "acknowledged again");
    lone.pass(Duration::from_secs(50));
    assert_eq!(lone.conn.state(), State::TimeWait, "the wait started anew");
    lone.pass(Duration::from_secs(10));
    assert_eq!(lone.conn.state(), State::Closed, "and ends");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::Finished)],
        "in good order"
    );
}

/// RFC 6191 section 2: (ours used timestamps, SYN's timestamp, its number
/// relative to what is expected, reopens).
//= rfc6191#section-2 (SHOULD)
#[test]
fn a_syn_in_time_wait_reopens_only_if_it_is_new() {
    let newer = Some(1_000_000);
    let cases = [
        (false, None, 1, true, "its number lies beyond"),
        (false, None, -1, false, "an old number"),
        (false, None, 0, false, "the very next one may be old data's"),
        (true, newer, -5, true, "a newer timestamp is enough"),
        (
            true,
            Some(100),
            1,
            true,
            "the same timestamp, and a number beyond",
        ),
        (
            true,
            Some(100),
            -1,
            false,
            "the same timestamp, and an old number",
        ),
        (true, Some(99), 1, false, "an older timestamp"),
        (true, None, 1, true, "none, and a number beyond"),
        (true, None, -1, false, "none, and an old number"),
    ];
    for (timestamps, value, offset, reopens, why) in cases {
        let config = Config {
            timestamps,
            ..plain()
        };
        let mut lone = time_wait(config, timestamps);
        let mut syn = seg(SYN, 2u32.wrapping_add_signed(offset), 0);
        syn.options.timestamps = value.map(|value| Timestamps { value, echo: 0 });
        let disposition = lone.recv(&syn, b"");
        if reopens {
            assert_eq!(disposition, Disposition::Reopen { iss_above: ISS + 2 }, "{why}");
        } else {
            assert_eq!(
                disposition,
                Disposition::Dropped(DropReason::SynInConnection),
                "{why}"
            );
            assert_eq!(lone.said(), "ACK", "challenged: {why}");
        }
    }
}

/// TIME-WAIT, TS.Recent 100 if `timestamps`.
fn time_wait(config: Config, timestamps: bool) -> Lone {
    let stamp = |mut segment: Segment| {
        segment.options.timestamps = timestamps.then_some(Timestamps { value: 100, echo: 0 });
        segment
    };
    let mut lone = Lone::answering(config, &stamp(crate::lone::syn()));
    lone.out();
    lone.recv(&stamp(seg(ACK, 1, 1)), b"");
    lone.conn.shutdown_write();
    lone.out();
    lone.recv(&stamp(seg(FIN | ACK, 1, 2)), b"");
    lone.out();
    assert_eq!(lone.conn.state(), State::TimeWait, "both have finished");
    lone
}

#[test]
fn closing_with_text_unread_resets() {
    let mut lone = Lone::established(plain());
    lone.recv(&seg(ACK, 1, 1), b"unread");
    lone.conn.close(lone.now);
    assert_eq!(lone.said(), "RST@1", "the peer learns that it was not read");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::Aborted)],
        "only the end is told"
    );
    assert!(lone.conn.is_closed(), "nothing is left");
}

#[test]
fn text_that_comes_after_close_resets() {
    let mut lone = Lone::established(plain());
    lone.conn.close(lone.now);
    assert_eq!(lone.said(), "FIN|ACK", "an orderly end");
    assert_eq!(
        lone.recv(&seg(ACK, 1, 2), b"late"),
        Disposition::Dropped(DropReason::DataAfterClose),
        "nobody will read it"
    );
    assert_eq!(lone.said(), "RST@2", "the peer learns so");
    assert_eq!(lone.events(), [Event::Closed(CloseReason::Aborted)], "the end");
}

#[test]
fn the_reset_for_late_text_has_the_number_that_the_peer_waits_for() {
    let mut lone = Lone::established(plain());
    lone.conn.close(lone.now);
    assert_eq!(lone.said(), "FIN|ACK", "which gets lost");
    lone.recv(&seg(ACK, 1, 1), b"late");
    assert_eq!(
        lone.said(),
        "RST@1",
        "not behind the FIN, which would be challenged"
    );
}

#[test]
fn what_was_written_before_close_is_delivered() {
    let mut pair = Pair::connected();
    pair.lose({
        let mut n = 0;
        move |p| {
            n += u32::from(!p.payload.is_empty());
            !p.payload.is_empty() && n % 7 == 2
        }
    });
    pair.ends[A].to_send = text(1, 200_000);
    pair.drive(Duration::from_secs(1), |p| p.ends[A].sent == 200_000);
    let now = pair.now;
    pair.ends[A].conn().close(now);
    pair.ends[A].reading = false;
    pair.ends[B].finish = true;
    pair.run_for(Duration::from_secs(100));
    pair.assert_delivered();
    assert_eq!(
        pair.ends.each_ref().map(|e| e.closed()),
        [Some(CloseReason::Finished); 2],
        "both come to the end"
    );
}

#[test]
fn an_orphan_does_not_wait_for_ever_in_fin_wait_2() {
    let mut lone = Lone::established(plain());
    lone.conn.close(lone.now);
    lone.out();
    lone.recv(&seg(ACK, 1, 2), b"");
    assert_eq!(lone.conn.state(), State::FinWait2, "the peer says nothing more");
    assert_eq!(lone.wait(), Duration::from_secs(60), "the configured time");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::Finished)],
        "then the end"
    );
    let mut lone = Lone::in_state(State::FinWait2, plain());
    assert_eq!(
        lone.conn.next_timeout(),
        None,
        "one that still reads waits as long as it likes"
    );
    lone.conn.close(lone.now);
    assert_eq!(lone.wait(), Duration::from_secs(60), "until it does not");
}

#[test]
fn the_end_waits_for_the_reader() {
    let mut lone = Lone::established(plain());
    lone.recv(&seg(FIN | ACK, 1, 1), b"last words");
    lone.conn.shutdown_write();
    lone.out();
    lone.recv(&seg(ACK, 12, 2), b"");
    assert_eq!(lone.conn.state(), State::Closed, "both have finished");
    assert_eq!(
        lone.events(),
        [Event::Readable, Event::PeerClosed],
        "but not the reader"
    );
    assert!(!lone.conn.is_closed(), "so it must not be deleted");
    assert_eq!(lone.read_all(), b"last words", "nothing is lost");
    assert_eq!(lone.conn.read(), Ok(Read::Eof), "to the end");
    assert_eq!(lone.events(), [Event::Closed(CloseReason::Finished)], "now");
    assert!(lone.conn.is_closed(), "and now it may");
}

#[test]
fn aborting_after_an_orderly_end_gives_back_what_was_not_read() {
    let mut lone = Lone::established(plain());
    lone.recv(&seg(FIN | ACK, 1, 1), b"last words");
    lone.conn.shutdown_write();
    lone.out();
    lone.recv(&seg(ACK, 12, 2), b"");
    assert_eq!(lone.conn.state(), State::Closed, "both have finished");
    lone.conn.abort();
    assert_eq!(lone.conn.received_footprint(), 0, "nobody will read it");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::Finished)],
        "the end was an orderly one"
    );
    assert!(lone.conn.is_closed(), "nothing is left");
}

#[test]
fn aborting_resets_where_the_peer_may_still_wait() {
    use State::*;
    for (state, says) in [
        (SynSent, ""),
        (SynReceived, "RST@1"),
        (Established, "RST@1"),
        (FinWait1, "RST@2"),
        (FinWait2, "RST@2"),
        (CloseWait, "RST@1"),
        (Closing, ""),
        (LastAck, ""),
        (TimeWait, ""),
    ] {
        let mut lone = Lone::in_state(state, plain());
        lone.conn.abort();
        assert_eq!(
            lone.events(),
            [Event::Closed(CloseReason::Aborted)],
            "{state:?}: told at once"
        );
        assert_eq!(
            lone.conn.is_closed(),
            says.is_empty(),
            "{state:?}: kept while a reset is owed"
        );
        assert_eq!(lone.said(), says, "{state:?}: what the peer is told");
        assert!(lone.conn.is_closed(), "{state:?}: nothing is left");
    }
}

#[test]
fn verbs_out_of_turn_are_refused_and_harmless() {
    use State::*;
    for state in [
        SynSent,
        SynReceived,
        Established,
        FinWait1,
        FinWait2,
        CloseWait,
        Closing,
        LastAck,
        TimeWait,
    ] {
        let mut lone = Lone::in_state(state, plain());
        lone.conn.shutdown_write();
        lone.conn.shutdown_write();
        assert_eq!(
            lone.conn.write(b"x"),
            Err(WriteError::Closed),
            "{state:?}: shut down"
        );
        assert_eq!(lone.conn.write_capacity(), 0, "{state:?}: shut down");
        lone.conn.close(lone.now);
        lone.conn.close(lone.now);
        assert_eq!(lone.conn.read(), Err(ReadError::Closed), "{state:?}: closed");
        assert_eq!(lone.conn.peek(0, &mut [0; 4]), 0, "{state:?}: closed");
        lone.conn.abort();
        lone.conn.abort();
        lone.conn.on_timeout(lone.now);
        lone.out();
        lone.events();
        assert!(lone.conn.is_closed(), "{state:?}: gone");
        assert_eq!(
            lone.recv(&seg(ACK, 1, 1), b"x"),
            Disposition::Dropped(DropReason::NoSuchConnection),
            "{state:?}: to be answered by the owner's reset"
        );
    }
}

#[test]
fn a_reset_drops_what_was_not_read() {
    let mut lone = Lone::established(plain());
    lone.recv(&seg(ACK, 1, 1), b"unread");
    lone.recv(&seg(RST, 7, 0), b"");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::ResetByPeer)],
        "only the end"
    );
    assert_eq!(
        lone.conn.read(),
        Err(ReadError::Closed),
        "the connection was cut off"
    );
    assert_eq!(
        lone.conn.stats().buffered,
        crore_tcp::Buffered::default(),
        "no memory is pinned"
    );
}

#[test]
fn time_wait_ends_though_the_last_acknowledgment_can_not_be_sent() {
    let mut lone = Lone::in_state(State::FinWait2, plain());
    lone.recv(&seg(FIN | ACK, 1, 2), b"");
    assert_eq!(lone.conn.state(), State::TimeWait, "the peer has finished");
    let mut wakeups = 0;
    while let Some(due) = lone.conn.next_timeout() {
        assert!(due > lone.now, "a deadline that has passed must not stay due");
        lone.now = due;
        lone.conn.on_timeout(due);
        wakeups += 1;
        assert!(wakeups < 10, "the wait must end");
    }
    assert_eq!(
        lone.events(),
        [Event::PeerClosed, Event::Closed(CloseReason::Finished)],
        "it has ended"
    );
    assert!(lone.conn.is_closed(), "nothing is left");
}

#[test]
fn a_time_wait_of_nothing_ends_at_once() {
    let config = Config {
        time_wait: Duration::ZERO,
        ..plain()
    };
    let mut lone = Lone::in_state(State::FinWait2, config);
    lone.recv(&seg(FIN | ACK, 1, 2), b"");
    lone.conn.on_timeout(lone.now);
    assert_eq!(lone.said(), "ACK", "the peer's FIN is acknowledged first");
    lone.wait();
    assert_eq!(lone.conn.state(), State::Closed, "then it is over");
}
