//! Data before the handshake is over: RFC 7413, on one connection.

use crore_netbuf::Chunk;
use crore_tcp::{CloseReason, Config, Event, Grant, State};
use crore_wire::{FastOpenCookie, Segment, TcpOptions};

use crate::lone::{ACK, FIN, ISS, Lone, MSS, RST, SYN, plain, seg, syn};

fn cookie(byte: u8) -> FastOpenCookie {
    FastOpenCookie::new(&[byte; 8]).expect("eight bytes are a cookie")
}

/// A client with `data` that sends its SYN with `offer` to a server of MSS 1,000.
fn client(offer: FastOpenCookie, data: &[u8]) -> Lone {
    let mut lone = Lone::opening(plain());
    lone.conn.offer_fast_open(offer, MSS);
    lone.conn.write(data).expect("written before it is open");
    lone
}

/// The server's SYN-ACK of everything below `ack`.
fn syn_ack(ack: u32, grant: Option<FastOpenCookie>) -> Segment {
    Segment {
        options: TcpOptions {
            mss: Some(1_200),
            fast_open: grant,
            ..TcpOptions::default()
        },
        ..seg(SYN | ACK, 0, ack)
    }
}

/// A server that has taken `data` with a SYN, nothing sent yet.
fn server(data: &[u8], renewal: Option<FastOpenCookie>) -> Lone {
    let mut lone = Lone::listening(plain());
    lone.conn.accept_fast_open(Chunk::copy_from(data), renewal);
    lone
}

//= rfc7413#section-4.2.1 (MUST)
#[test]
fn a_client_without_cookie_asks_for_one_and_sends_its_data_afterwards() {
    let mut lone = client(FastOpenCookie::REQUEST, b"hello");
    let sent = lone.out_raw();
    assert_eq!(sent.len(), 1, "a SYN");
    assert_eq!(
        sent[0].0.options.fast_open,
        Some(FastOpenCookie::REQUEST),
        "that asks"
    );
    assert!(sent[0].1.is_empty(), "without data");
    lone.recv(&syn_ack(1, Some(cookie(5))), b"");
    let grant = Grant {
        cookie: cookie(5),
        mss: Some(1_200),
    };
    assert_eq!(lone.conn.fast_open_grant(), Some(grant), "it is given one");
    assert_eq!(lone.data(), [(1, 5)], "the data follows");
    assert!(!lone.conn.fast_open_failed(), "nothing was lost");
}

//= rfc7413#section-4.2.2 (MUST)
#[test]
fn a_client_with_a_cookie_sends_data_with_its_syn() {
    let mut lone = client(cookie(5), b"hello");
    let sent = lone.out_raw();
    assert_eq!(sent.len(), 1, "one segment");
    let (segment, data) = &sent[0];
    assert_eq!(segment.flags, SYN, "a SYN");
    assert_eq!(segment.options.fast_open, Some(cookie(5)), "with the cookie");
    assert_eq!(data, b"hello", "and the data");
    lone.recv(&syn_ack(6, None), b"");
    assert_eq!(lone.conn.state(), State::Established, "all is acknowledged");
    assert_eq!(lone.said(), "ACK", "and nothing sent again");
    assert_eq!(lone.events(), [Event::Connected], "open");
    assert_eq!(lone.conn.stats().buffered.send, 0, "the data is let go");
}

/// Protects a writer whose buffer the SYN had filled from waiting for ever.
#[test]
fn a_writer_that_was_cut_short_hears_when_the_syn_has_brought_its_data() {
    let config = Config {
        send_buffer: 5,
        ..plain()
    };
    let mut lone = Lone::opening(config);
    lone.conn.offer_fast_open(cookie(5), MSS);
    assert_eq!(lone.conn.write(b"hello, server"), Ok(5), "the buffer is full");
    lone.out();
    lone.recv(&syn_ack(6, None), b"");
    assert_eq!(
        lone.events(),
        [Event::Connected, Event::Writable],
        "there is room again"
    );
}

/// Protects a server from being sent more than it has room for.
#[test]
fn a_syn_ack_offers_what_the_syn_has_left_of_the_buffer() {
    let mut lone = server(&[7; 400], None);
    let sent = lone.out();
    assert_eq!(
        (sent[0].ack, sent[0].window),
        (401, 9_600),
        "400 of 10,000 bytes are taken"
    );
    let (half, rest) = (&[7; 9_600][..4_800], &[7; 9_600][4_800..]);
    lone.recv(&seg(ACK, 401, 1), half);
    lone.recv(&seg(ACK, 401 + 4_800, 1), rest);
    assert_eq!(lone.read_all().len(), 10_000, "and that much fits");
}

/// Protects the bytes that a SYN carried and its SYN-ACK does not acknowledge.
//= rfc7413#section-4.2.2 (MUST)
#[test]
fn what_the_syn_ack_does_not_cover_is_sent_again_at_once() {
    for (acked, expected) in [(1, vec![(1, 5)]), (3, vec![(3, 3)])] {
        let mut lone = client(cookie(5), b"hello");
        lone.out();
        let window = lone.conn.stats().cwnd;
        lone.recv(&syn_ack(acked, Some(cookie(6))), b"");
        assert_eq!(lone.data(), expected, "from {acked} on");
        assert!(lone.conn.stats().cwnd >= window, "congestion is not to blame");
        lone.recv(&seg(ACK, 1, 6), b"");
        assert_eq!(lone.conn.stats().in_flight, 0, "then it has arrived");
        assert_eq!(
            lone.conn.fast_open_grant().map(|grant| grant.cookie),
            Some(cookie(6)),
            "and there is a new cookie"
        );
    }
}

//= rfc7413#section-4.1.3.1 (SHOULD)
#[test]
fn a_syn_without_answer_is_sent_again_without_data_and_without_cookie() {
    let mut lone = client(cookie(5), b"hello");
    lone.out();
    lone.wait();
    let again = lone.out_raw();
    assert_eq!(again.len(), 1, "the SYN");
    assert_eq!(again[0].0.options.fast_open, None, "bare");
    assert!(again[0].1.is_empty(), "without data");
    assert!(lone.conn.fast_open_failed(), "the owner can learn of it");
    // The server's answer to the first one may come all the same.
    lone.recv(&syn_ack(6, None), b"");
    assert_eq!(lone.conn.state(), State::Established, "it is taken");
    assert_eq!(lone.data(), [], "nothing is left to send");
    // Or it answers the second one.
    let mut lone = client(cookie(5), b"hello");
    lone.out();
    lone.wait();
    lone.out();
    lone.recv(&syn_ack(1, None), b"");
    assert_eq!(lone.data(), [(1, 5)], "the data follows");
}

/// Protects a path from a SYN that is too large for it, or for the peer.
//= rfc7413#section-4.1.3 (MUST)
#[test]
fn no_more_goes_with_the_syn_than_the_peer_took_last_time() {
    // Forty bytes are left for options: if it has to be sent again, it fits into a segment.
    for (mss, expected) in [(MSS, 960), (536, 496), (9_000, 960)] {
        let mut lone = Lone::opening(plain());
        lone.conn.offer_fast_open(cookie(5), mss);
        assert_eq!(lone.conn.syn_room(), expected, "MSS {mss}: told before");
        lone.conn.write(&[7; 5_000]).expect("open");
        let sent = lone.out_raw();
        assert_eq!(sent.len(), 1, "MSS {mss}: nothing more before an answer");
        assert_eq!(sent[0].1.len(), expected, "MSS {mss}");
        assert_eq!(lone.conn.syn_room(), 0, "MSS {mss}: it is sent");
    }
}

//= rfc7413#section-7.3 (MAY)
#[test]
fn data_may_go_without_a_cookie_where_the_server_wants_none() {
    let mut lone = Lone::opening(plain());
    lone.conn.offer_fast_open(None, MSS);
    lone.conn.write(b"hello").expect("written before it is open");
    let sent = lone.out_raw();
    assert_eq!((sent.len(), &sent[0].1[..]), (1, &b"hello"[..]), "with the SYN");
    assert_eq!(sent[0].0.options.fast_open, None, "and without the option");
    assert!(!lone.conn.stats().syn_data, "nothing is taken yet");
    lone.recv(&syn_ack(6, Some(cookie(6))), b"");
    assert!(lone.conn.stats().syn_data, "the server has taken it");
    assert_eq!(
        lone.conn.fast_open_grant(),
        None,
        "a cookie that nobody asked for is not kept"
    );
    // Where it gets no answer, it goes as ever.
    let mut lone = Lone::opening(plain());
    lone.conn.offer_fast_open(None, MSS);
    lone.conn.write(b"hello").expect("written before it is open");
    lone.out();
    lone.wait();
    assert!(lone.out_raw()[0].1.is_empty(), "the SYN again, alone");
    lone.recv(&syn_ack(1, None), b"");
    assert_eq!(lone.data(), [(1, 5)], "the data follows");
    assert!(!lone.conn.stats().syn_data, "the SYN's was not taken");
}

//= rfc7413#section-4.2.2 (MUST)
/// Protects the answer from waiting for the end of the handshake: Nagle's algorithm
/// and the initial window count data, and a SYN-ACK is none.
#[test]
fn a_server_has_a_whole_initial_window_before_the_handshake_is_over() {
    let config = Config {
        nodelay: false,
        initial_window: 4,
        ..plain()
    };
    for (written, expected) in [(10, vec![10]), (4_000, vec![1_000; 4]), (5_000, vec![1_000; 4])] {
        let mut lone = Lone::listening(config.clone());
        lone.conn.accept_fast_open(Chunk::copy_from(b"hello"), None);
        lone.out();
        lone.conn.write(&vec![7; written]).expect("writable");
        let sent: Vec<usize> = lone.data().iter().map(|&(_, len)| len).collect();
        assert_eq!(sent, expected, "{written} bytes");
        lone.conn.write(b"more").expect("writable");
        assert_eq!(lone.data(), [], "{written} bytes: what is small waits for those");
    }
}

//= rfc7413#section-4.2.2 (MUST)
#[test]
fn a_server_reads_and_answers_before_the_handshake_is_over() {
    let mut lone = server(b"hello", None);
    assert_eq!(lone.events(), [Event::Connected, Event::Readable], "told at once");
    assert_eq!(lone.read_all(), b"hello", "readable at once");
    lone.conn.write(b"good day").expect("writable");
    let sent = lone.out();
    assert_eq!(sent.len(), 2, "SYN-ACK, then the answer");
    assert_eq!(
        (sent[0].flags, sent[0].ack),
        (SYN | ACK, 6),
        "it acknowledges the data"
    );
    assert_eq!((sent[1].seq, sent[1].len), (1, 8), "before the handshake is over");
    assert!(lone.conn.is_fast_opening(), "which it is not");
    lone.recv(&seg(ACK, 6, 9), b"");
    assert_eq!(lone.conn.state(), State::Established, "now it is");
    assert!(!lone.conn.is_fast_opening(), "over");
    assert_eq!(lone.events(), [], "and told once");
    assert_eq!(lone.conn.stats().in_flight, 0, "the answer has arrived");
}

#[test]
fn a_server_goes_on_as_any_other_when_acknowledgments_are_lost() {
    let mut lone = server(b"hello", Some(cookie(9)));
    lone.conn.write(b"good day").expect("writable");
    let sent = lone.out_raw();
    assert_eq!(sent[0].0.options.fast_open, Some(cookie(9)), "a new cookie");
    lone.wait();
    let again = lone.out_raw();
    assert_eq!(again.len(), 1, "the SYN-ACK again: {again:?}");
    assert_eq!(again[0].0.flags, SYN | ACK, "and nothing else");
    // Only our SYN arrived; the data did not.
    lone.recv(&seg(ACK, 6, 1), b"");
    assert_eq!(lone.conn.state(), State::Established, "open");
    while lone.conn.stats().in_flight > 0 {
        lone.wait();
        if lone.data() == [(1, 8)] {
            lone.recv(&seg(ACK, 6, 9), b"");
        }
    }
}

#[test]
fn the_syn_again_is_answered_and_its_data_taken_once() {
    let mut lone = server(b"hello", None);
    lone.out();
    lone.recv(&syn(), b"hello");
    let sent = lone.out();
    assert_eq!(
        (sent[0].flags, sent[0].ack),
        (SYN | ACK, 6),
        "what was taken stays so"
    );
    assert_eq!(lone.read_all(), b"hello", "once");
    // The client sends it again after the handshake, having missed that.
    lone.recv(&seg(ACK, 1, 1), b"hello, server");
    assert_eq!(lone.read_all(), b", server", "what is new of it");
}

#[test]
fn a_server_may_close_before_the_handshake_is_over() {
    let mut lone = server(b"hello", None);
    lone.read_all();
    lone.conn.write(b"bye").expect("writable");
    lone.conn.close(lone.now);
    let sent = lone.out();
    assert!(sent.iter().all(|s| !s.flags.has_fin()), "the FIN waits: {sent:?}");
    lone.recv(&seg(ACK, 6, 4), b"");
    assert_eq!(lone.conn.state(), State::FinWait1, "now it goes");
    let sent = lone.out();
    assert_eq!((sent[0].flags, sent[0].seq), (FIN | ACK, 4), "behind the data");
}

#[test]
fn a_reset_before_the_handshake_is_over_is_the_end() {
    let mut lone = server(b"hello", None);
    lone.out();
    lone.events();
    lone.recv(&seg(RST, 6, 0), b"");
    assert_eq!(lone.events(), [Event::Closed(CloseReason::ResetByPeer)], "told");
    assert!(lone.conn.is_closed(), "gone");
}

/// Protects everybody else: where Fast Open is not asked for, nothing changes.
#[test]
fn without_fast_open_a_syn_has_no_data_and_no_option() {
    let mut lone = Lone::opening(Config::default());
    lone.conn.write(b"hello").expect("open");
    let sent = lone.out_raw();
    assert_eq!((sent.len(), sent[0].1.len()), (1, 0), "a bare SYN");
    assert_eq!(sent[0].0.options.fast_open, None, "no option");
    assert_eq!(lone.conn.snd_nxt(), ISS + 1, "one number");
    assert!(!lone.conn.fast_open_failed(), "nothing to fail");
}
