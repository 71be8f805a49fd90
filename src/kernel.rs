//! `crore kernel`: one end of a stream through the kernel's own TCP, with plain
//! sockets: what `crore bench linux` compares with.
//!
//! The source sends RFC 864's pattern to whoever connects; the sink checks each
//! byte. Time counts from the first connection that stands, as `crore load bulk`
//! has it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use crore::services::{PATTERN_PERIOD, Pattern};
use crore_load::Periodic;
use serde::Serialize;

use crate::clock;
use crate::control;
use crate::failure::Failure;
use crate::signals::Interrupted;
use crate::summary::print_json;

#[derive(Debug, Args)]
pub(crate) struct KernelArguments {
    #[command(subcommand)]
    end: End,
}

#[derive(Debug, Subcommand)]
enum End {
    /// Sends the pattern to whoever connects, until standard input closes
    Source {
        /// Where to listen
        at: SocketAddr,
    },
    /// Connects, and checks what comes
    Sink {
        /// Where the source listens
        from: SocketAddr,
        /// Connections
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        connections: u32,
        /// How long it is counted what comes
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// How long before that it comes without being counted
        #[arg(long, default_value_t = 0)]
        warm_up: u64,
    },
}

/// Bytes written or read at once.
const PIECE: usize = 128 * 1024;
/// How often a thread that waits looks whether all is over.
const LOOK: Duration = Duration::from_millis(20);
/// How long the first connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn kernel(arguments: &KernelArguments) -> Result<(), Failure> {
    let interrupted = Interrupted::watch()?;
    match arguments.end {
        End::Source { at } => source(at, &interrupted),
        End::Sink {
            from,
            connections,
            seconds,
            warm_up,
        } => {
            let times = [warm_up, seconds].map(Duration::from_secs);
            sink(from, connections, times, &interrupted)
        }
    }
}

/// What a source has to tell.
#[derive(Serialize)]
struct Sourced {
    connections: u64,
}

fn source(at: SocketAddr, interrupted: &Interrupted) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::run(format!("{at}: {e}"));
    let listener = TcpListener::bind(at).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    control::ready()?;
    control::end_with_input(interrupted)?;
    let pattern: Arc<[u8]> = pattern_of(PIECE).into();
    let mut sourced = Sourced { connections: 0 };
    while !interrupted.asked() {
        match listener.accept() {
            Ok((stream, _)) => {
                sourced.connections += 1;
                let pattern = pattern.clone();
                // It ends with its connection, or with this process.
                spawn("source", move || pour(stream, &pattern))?;
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => clock::rest(LOOK),
            Err(e) => return Err(failed(e)),
        }
    }
    print_json(&sourced)
}

/// Writes the pattern until the reader is gone.
fn pour(mut stream: TcpStream, pattern: &[u8]) {
    let mut place = 0;
    // Accepted sockets do not inherit it everywhere.
    if stream.set_nonblocking(false).is_err() {
        return;
    }
    while let Ok(written) = stream.write(&pattern[place..place + PIECE]) {
        place = (place + written) % PATTERN_PERIOD;
    }
}

/// What a sink has to tell.
#[derive(Serialize)]
struct Sunk {
    /// Over which the bytes came.
    seconds: f64,
    /// Bytes of each connection.
    flows: Vec<u64>,
    received_bits_per_second: f64,
    /// Connections that failed, or ended before their time.
    broken: u64,
    /// Connections on which a wrong byte came.
    mismatches: u64,
}

/// What one connection of a sink did.
enum Outcome {
    Stands,
    Broken,
    Mismatch,
}

fn sink(
    from: SocketAddr,
    connections: u32,
    [warm_up, time]: [Duration; 2],
    interrupted: &Interrupted,
) -> Result<(), Failure> {
    control::ready()?;
    control::end_with_input(interrupted)?;
    let expected = Arc::new(Periodic::of(&pattern_of(0)));
    let (said, heard) = mpsc::channel();
    let mut flows = Vec::new();
    for _ in 0..connections {
        let flow = Arc::new(AtomicU64::new(0));
        flows.push(flow.clone());
        let (expected, said) = (expected.clone(), said.clone());
        spawn("sink", move || {
            let _ = said.send(drain(from, &expected, &flow, &said));
        })?;
    }
    let mut sunk = Sunk {
        seconds: 0.0,
        flows: Vec::new(),
        received_bits_per_second: 0.0,
        broken: 0,
        mismatches: 0,
    };
    // The first that stands starts the clock.
    let first = heard.recv_timeout(CONNECT_LIMIT);
    sunk.note(first.unwrap_or(Outcome::Broken));
    let look = || {
        flows
            .iter()
            .map(|flow| flow.load(Ordering::Relaxed))
            .collect::<Vec<u64>>()
    };
    wait(warm_up, interrupted);
    let (before, started) = (look(), Instant::now());
    wait(time, interrupted);
    let (after, elapsed) = (look(), started.elapsed());
    while let Ok(outcome) = heard.try_recv() {
        sunk.note(outcome);
    }
    sunk.flows = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    sunk.seconds = elapsed.as_secs_f64();
    sunk.received_bits_per_second = sunk.flows.iter().sum::<u64>() as f64 * 8.0 / sunk.seconds.max(1e-9);
    control::stopped(interrupted)?;
    print_json(&sunk)
}

impl Sunk {
    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stands => {}
            Outcome::Broken => self.broken += 1,
            Outcome::Mismatch => self.mismatches += 1,
        }
    }
}

/// Reads and checks until the connection ends, or this process does.
fn drain(from: SocketAddr, expected: &Periodic, flow: &AtomicU64, said: &Sender<Outcome>) -> Outcome {
    let Ok(mut stream) = TcpStream::connect(from) else {
        return Outcome::Broken;
    };
    let _ = said.send(Outcome::Stands);
    let mut buffer = vec![0; PIECE];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Outcome::Broken,
            Ok(len) if !expected.is_at(received, &buffer[..len]) => return Outcome::Mismatch,
            Ok(len) => {
                received += len as u64;
                flow.store(received, Ordering::Relaxed);
            }
        }
    }
}

fn wait(time: Duration, interrupted: &Interrupted) {
    let end = Instant::now() + time;
    while !interrupted.asked() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        clock::rest(left.min(LOOK));
    }
}

/// A period of the pattern, and `more` bytes behind it.
fn pattern_of(more: usize) -> Vec<u8> {
    (0..PATTERN_PERIOD + more)
        .map(|at| Pattern::byte_at(at as u64))
        .collect()
}

fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map(drop)
        .map_err(|e| Failure::run(format!("no thread: {e}")))
}
