//! The applications over a link in memory, in virtual time, with a client that
//! is a bare stack.

use std::net::SocketAddr;

use crore_base::{Duration, Instant};
use crore_nic::sim::{LinkConfig, SimNic, link};
use crore_nic::{Nic, RxFrame};
use crore_shard::Shard;
use crore_stack::{ConnId, Event, Read, Stack, StackConfig};

use super::{App, Chargen, Discard, Echo, Families, Pattern};

const SERVER_KEY: u8 = 1;

/// One application at one end, a bare stack at the other.
pub(super) struct Fixture<A: App> {
    server: Shard<SimNic, A>,
    client: Stack,
    nic: SimNic,
    frames: Vec<RxFrame>,
    now: Instant,
    port: u16,
    dead: Vec<ConnId>,
}

pub(super) fn get(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

fn host(address: &str, nic: &SimNic, key: u8) -> Stack {
    let config = StackConfig {
        addresses: vec![(address.parse().expect("an address"), 24)],
        max_connections: 64,
        // No test but those of silence lasts so long.
        idle_timeout: Duration::from_secs(if key == SERVER_KEY { 2 } else { 0 }),
        ..StackConfig::default()
    };
    Stack::new(config, nic.capabilities(), [key; 16]).expect("a good configuration")
}

impl<A: App> Fixture<A> {
    pub(super) fn new(mut app: A, port: u16) -> Self {
        let (ours, theirs) = link(LinkConfig::default());
        let mut stack = host("10.0.0.2", &ours, SERVER_KEY);
        let families = Families { v4: true, v6: false };
        app.listen(&mut stack, families, port, 64)
            .expect("the port is free");
        Self {
            server: Shard::new(ours, stack, app),
            client: host("10.0.0.1", &theirs, 2),
            nic: theirs,
            frames: Vec::new(),
            now: Instant::from_millis(1),
            port,
            dead: Vec::new(),
        }
    }

    /// One turn at both ends, a tenth of a millisecond later.
    fn turn(&mut self) -> bool {
        self.now += Duration::from_micros(100);
        let served = self.server.turn(self.now);
        let received = self.nic.rx_burst(self.now, &mut self.frames);
        if received > 0 {
            self.client.on_burst(self.now, &mut self.frames);
        }
        self.client.on_timeout(self.now);
        while let Some(event) = self.client.poll_event() {
            if let Event::Closed { conn, .. } = event {
                self.dead.push(conn);
            }
        }
        let sent = self.client.poll_transmit(self.now, &mut self.nic);
        !served.is_idle() || received > 0 || sent > 0
    }

    /// Turns until nothing has happened for some time.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 50 {
            quiet = if self.turn() { 0 } else { quiet + 1 };
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.turn();
        }
    }

    pub(super) fn connect(&mut self) -> ConnId {
        let remote = SocketAddr::from(([10, 0, 0, 2], self.port));
        let conn = self.client.connect(self.now, None, remote).expect("a route");
        self.settle();
        conn
    }

    /// Writes all of `bytes`, as far as the buffer takes them.
    pub(super) fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        assert_eq!(
            self.client.write(conn, bytes),
            Ok(bytes.len()),
            "the send buffer has room"
        );
    }

    /// Sends pieces one after another, and gathers what comes back.
    pub(super) fn ask(&mut self, conn: ConnId, pieces: &[&[u8]]) -> Vec<u8> {
        let mut answer = Vec::new();
        for piece in pieces {
            self.write(conn, piece);
            let mut quiet = 0;
            while quiet < 50 {
                quiet = if self.turn() { 0 } else { quiet + 1 };
                while let Ok(Read::Data(chunk)) = self.client.read(conn) {
                    answer.extend_from_slice(&chunk);
                    quiet = 0;
                }
            }
        }
        answer
    }

    /// Whether the server has said its last, or the connection is gone.
    pub(super) fn ended(&mut self, conn: ConnId) -> bool {
        matches!(self.client.read(conn), Ok(Read::Eof) | Err(_))
    }

    pub(super) fn close(&mut self, conn: ConnId) {
        self.client.close(self.now, conn);
        self.settle();
    }

    pub(super) fn open(&self) -> usize {
        self.server.service().open()
    }

    pub(super) fn assert_nothing_is_left(&mut self) {
        self.settle();
        assert_eq!(self.server.service().open(), 0, "the application holds nothing");
        assert_eq!(
            self.server.stack().unfinished(),
            0,
            "no connection waits for anything"
        );
        assert_eq!(self.server.stack().received_held(), 0, "no received byte is held");
    }
}

#[test]
fn an_echo_comes_back_and_a_half_close_ends_it() {
    let mut fixture = Fixture::new(Echo::new(), 7);
    let conn = fixture.connect();
    let sent: Vec<u8> = (0..200_000u32).map(|i| Pattern::byte_at(i.into())).collect();
    assert!(fixture.ask(conn, &[&sent]) == sent, "every byte comes back");
    fixture.client.shutdown_write(conn);
    fixture.settle();
    assert!(fixture.ended(conn), "the echo ends when its client does");
    fixture.close(conn);
    fixture.assert_nothing_is_left();
}

#[test]
fn an_echo_that_is_not_read_stops_reading_and_goes_on_later() {
    let mut fixture = Fixture::new(Echo::new(), 7);
    let conn = fixture.connect();
    let mut written = 0u64;
    // Until every buffer on the way is full.
    for _ in 0..200 {
        let piece: Vec<u8> = (written..written + 10_000).map(Pattern::byte_at).collect();
        written += fixture.client.write(conn, &piece).expect("it is open") as u64;
        fixture.settle();
    }
    assert!(
        written < 1_500_000,
        "the echo takes no more than its buffers hold: {written}"
    );
    let mut back = 0u64;
    for _ in 0..2000 {
        while let Ok(Read::Data(chunk)) = fixture.client.read(conn) {
            let right = chunk
                .iter()
                .enumerate()
                .all(|(i, &b)| b == Pattern::byte_at(back + i as u64));
            assert!(right, "wrong bytes after {back}");
            back += chunk.len() as u64;
        }
        fixture.turn();
        if back == written {
            break;
        }
    }
    assert_eq!(back, written, "everything came back in the end");
    fixture.close(conn);
    fixture.assert_nothing_is_left();
}

#[test]
fn discard_counts_what_it_throws_away() {
    let mut fixture = Fixture::new(Discard::new(), 9);
    let conn = fixture.connect();
    let answer = fixture.ask(conn, &[&[1; 100_000], &[2; 5]]);
    assert!(answer.is_empty(), "nothing comes back");
    assert_eq!(
        fixture.server.service().counters().bytes_in,
        100_005,
        "all was taken"
    );
    fixture.close(conn);
    fixture.assert_nothing_is_left();
}

#[test]
fn chargen_sends_so_many_bytes_of_the_pattern_and_ends() {
    let mut fixture = Fixture::new(Chargen::new(Some(1_000_000)), 19);
    let conn = fixture.connect();
    let got = fixture.ask(conn, &[b"ignored"]);
    assert_eq!(got.len(), 1_000_000, "as many as were asked for");
    assert!(
        got.iter()
            .enumerate()
            .all(|(i, &b)| b == Pattern::byte_at(i as u64)),
        "every byte is in its place"
    );
    assert!(fixture.ended(conn), "and then the end");
    fixture.close(conn);
    fixture.assert_nothing_is_left();
}

#[test]
fn an_endless_chargen_ends_when_its_peer_does() {
    let mut fixture = Fixture::new(Chargen::new(None), 19);
    let conn = fixture.connect();
    fixture.pass(Duration::from_millis(50));
    fixture.close(conn);
    fixture.assert_nothing_is_left();
}

#[test]
fn draining_accepts_nothing_more_and_ends_what_is_idle() {
    let mut fixture = Fixture::new(Echo::new(), 7);
    let conn = fixture.connect();
    assert_eq!(fixture.ask(conn, &[b"abc"]), b"abc");
    let (stack, app) = fixture.server.parts_mut();
    app.drain(stack, fixture.now);
    fixture.settle();
    assert!(fixture.ended(conn), "an idle connection is ended");
    let late = fixture.connect();
    assert!(fixture.dead.contains(&late), "a late one is refused");
    fixture.close(conn);
    fixture.assert_nothing_is_left();
}

#[test]
fn what_does_not_end_is_reset_at_last() {
    let mut fixture = Fixture::new(Discard::new(), 9);
    let conn = fixture.connect();
    let (stack, app) = fixture.server.parts_mut();
    app.drain(stack, fixture.now);
    fixture.settle();
    assert_eq!(fixture.open(), 1, "its client has not ended yet");
    let (stack, app) = fixture.server.parts_mut();
    app.abort_all(stack);
    fixture.settle();
    assert!(fixture.dead.contains(&conn), "the client was told");
    fixture.assert_nothing_is_left();
}

#[test]
fn silent_connections_are_ended_and_busy_ones_are_not() {
    let mut fixture = Fixture::new(Echo::new(), 7);
    let silent = fixture.connect();
    let busy = fixture.connect();
    for _ in 0..6 {
        fixture.pass(Duration::from_secs(1));
        assert_eq!(fixture.ask(busy, &[b"x"]), b"x", "the busy one goes on");
    }
    assert_eq!(fixture.open(), 1, "the silent one was ended");
    assert!(fixture.ended(silent), "and was told");
}

#[test]
fn the_pattern_is_rfc_864s() {
    let start: Vec<u8> = (0..76).map(Pattern::byte_at).collect();
    assert!(
        start.starts_with(b" !\"#$%&'()"),
        "it starts with the first printable characters"
    );
    assert_eq!(
        &start[70..],
        b"fg\r\n!\"",
        "72 characters, then the next line starts one later"
    );
    let pattern = Pattern::new();
    for offset in [0, 1, 7029, 7030, 1 << 40] {
        let piece = pattern.piece(offset, 100_000);
        assert_eq!(piece.len(), Pattern::PIECE_MAX, "a piece is bounded");
        let right = piece
            .iter()
            .enumerate()
            .all(|(i, &b)| b == Pattern::byte_at(offset + i as u64));
        assert!(right, "a piece from {offset} is the pattern");
    }
}
