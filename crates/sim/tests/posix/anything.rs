//! Whatever a program asks and whatever comes from the network: no panic, no
//! call that sleeps though it may not, nothing left at the end.

use crore_base::{Duration, SeqNum};
use crore_nic::prng::Prng;
use crore_sim::posix::{Address, Call, Knobs, Outcome, Output};
use crore_wire::{Flags, Segment, TcpOptions, Timestamps};

use crate::peer::{Net, packet};

const SEEDS: u64 = 400;
const STEPS: u32 = 400;

/// A run of calls and packets, drawn from a seed.
struct Run {
    net: Net,
    prng: Prng,
    /// What the host has said last and how many bytes went with it, so that some
    /// packets make sense.
    heard: Option<(Segment, u32)>,
    /// Numbers of open files.
    fds: Vec<i32>,
    /// Calls that accepted, and those that received or sent something.
    accepted: u64,
    moved: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let knobs = Knobs {
            delayed_ack_ms: prng.pick(&[None, Some(40)]),
            rcvbuf: prng.pick(&[2_000, 60_000, 262_144]),
            sndbuf: prng.pick(&[1_000, 262_144]),
            seed,
            ..Knobs::default()
        };
        let mut net = if prng.chance(0.3) {
            Net::between("[2001:db8::1]:8080", "[2001:db8:1::2]:5000", knobs)
        } else {
            Net::with(knobs)
        };
        // Somebody has come already.
        let (listener, accepted, ..) = net.accepted();
        Self {
            net,
            prng,
            heard: None,
            fds: vec![listener, accepted],
            accepted: 0,
            moved: 0,
        }
    }

    fn step(&mut self) {
        match self.prng.below(10) {
            0..6 => self.make_a_call(),
            6..9 => self.send_a_packet(),
            _ => {
                let millis = self.prng.pick(&[0, 0, 1, 1, 50, 50, 50, 1_000, 100_000]);
                self.net.pass(Duration::from_millis(millis));
            }
        }
        while let Some(sent) = self.net.sent() {
            self.heard = Some((sent.segment, sent.payload.len() as u32));
        }
    }

    fn make_a_call(&mut self) {
        let call = self.draw();
        let fd = match call {
            Call::Receive { fd, flags, .. } | Call::Send { fd, flags, .. }
                if flags & libc::MSG_DONTWAIT != 0 =>
            {
                Some(fd)
            }
            _ => None,
        };
        match self.net.host.call(call.clone()) {
            Outcome::Ready(reply) => {
                self.accepted += u64::from(matches!(call, Call::Accept { .. }) && reply.result.is_ok());
                let moves = matches!(call, Call::Receive { .. } | Call::Send { .. });
                self.moved += u64::from(moves && reply.result.is_ok_and(|value| value > 0));
                let opens = matches!(
                    call,
                    Call::Socket { .. } | Call::Accept { .. } | Call::EpollCreate
                );
                if let (Call::Close { fd }, Ok(_)) = (&call, reply.result) {
                    self.fds.retain(|open| open != fd);
                }
                if let (true, Ok(new)) = (opens, reply.result) {
                    self.fds.push(new as i32);
                }
                if let Output::Pipe(reads, writes) = reply.output {
                    self.fds.extend([reads, writes]);
                }
            }
            Outcome::WouldBlock(ticket) => {
                assert_eq!(fd, None, "{call:?} must not sleep");
                // Some are waited for, most are given up.
                if self.prng.chance(0.8) {
                    self.net.host.interrupt(ticket);
                    assert!(self.net.host.reply(ticket).is_some(), "it has its answer");
                }
            }
        }
    }

    fn draw(&mut self) -> Call {
        let local = self.net.local;
        let remote = self.net.remote;
        let prng = &mut self.prng;
        let fds = self.fds.clone();
        let choose = |prng: &mut Prng| {
            if fds.is_empty() || prng.chance(0.05) {
                prng.pick(&[-1, 99])
            } else {
                prng.pick(&fds)
            }
        };
        let (fd, other) = (choose(prng), choose(prng));
        let flags = prng.pick(&[
            0,
            libc::MSG_DONTWAIT,
            libc::MSG_PEEK | libc::MSG_DONTWAIT,
            libc::MSG_WAITALL,
            libc::MSG_TRUNC | libc::MSG_DONTWAIT,
            libc::MSG_MORE | libc::MSG_DONTWAIT,
            libc::MSG_OOB,
        ]);
        let address = prng.pick(&[
            Address::Ip(local),
            Address::Ip(remote),
            Address::Ip(remote),
            Address::Ip(remote),
            Address::Unspecified,
            Address::Other,
        ]);
        let domain = if local.is_ipv4() {
            libc::AF_INET
        } else {
            libc::AF_INET6
        };
        match prng.below(19) {
            0 => Call::Socket {
                domain: prng.pick(&[domain, domain, domain, libc::AF_UNIX]),
                kind: libc::SOCK_STREAM | prng.pick(&[0, libc::SOCK_NONBLOCK]),
                protocol: 0,
            },
            2 => Call::Bind { fd, address },
            3 => Call::Listen {
                fd,
                backlog: prng.pick(&[-1, 0, 1, 128]),
            },
            1 | 4 => Call::Accept {
                fd,
                flags: prng.pick(&[0, libc::SOCK_NONBLOCK]),
            },
            5 => Call::Connect { fd, address },
            6 => Call::Receive {
                fd,
                len: prng.pick(&[0, 1, 1_000, usize::MAX]),
                flags,
            },
            7 | 8 => Call::Send {
                fd,
                data: vec![7; prng.pick(&[0, 1, 5_000, 300_000])],
                flags,
                to: None,
            },
            9 if prng.chance(0.8) => Call::Receive {
                fd,
                len: 10,
                flags: libc::MSG_DONTWAIT,
            },
            9 => Call::Shutdown {
                fd,
                how: prng.pick(&[0, 1, 2, 3]),
            },
            10 if prng.chance(0.9) => Call::PeerAddress { fd },
            10 => Call::Close { fd },
            11 => Call::Fcntl {
                fd,
                command: prng.pick(&[libc::F_GETFL, libc::F_SETFL]),
                argument: prng.pick(&[0, i64::from(libc::O_NONBLOCK)]),
            },
            12 => Call::Ioctl {
                fd,
                request: prng.pick(&[libc::FIONREAD, libc::TIOCOUTQ, 0x894b, 0x8905, libc::FIONBIO]),
                value: prng.below(2) as i32,
            },
            13 => Call::GetOption {
                fd,
                level: prng.pick(&[libc::SOL_SOCKET, libc::IPPROTO_TCP, libc::IPPROTO_IP]),
                name: prng.below(50) as i32,
                len: prng.pick(&[0, 1, 4, 300]),
            },
            14 => Call::SetOption {
                fd,
                level: prng.pick(&[libc::SOL_SOCKET, libc::IPPROTO_TCP, libc::IPPROTO_IP]),
                name: prng.below(50) as i32,
                value: draw_value(prng),
            },
            15 => Call::Poll {
                fds: vec![(fd, 0x7fff), (other, libc::POLLIN)],
                timeout_ms: prng.pick(&[0, 0, 100, -1]),
            },
            16 if prng.chance(0.8) => Call::LocalAddress { fd },
            16 if prng.chance(0.5) => Call::EpollCreate,
            16 => Call::Pipe,
            17 => Call::EpollControl {
                epoll: fd,
                operation: prng.pick(&[0, 1, 2, 3]),
                fd: other,
                events: prng.next_u64() as u32,
                data: 5,
            },
            18 if prng.chance(0.5) => Call::EpollWait {
                epoll: fd,
                most: 4,
                timeout_ms: 0,
            },
            _ => Call::Splice {
                from: fd,
                to: other,
                len: 1_000,
                flags: libc::SPLICE_F_NONBLOCK,
            },
        }
    }

    /// One that may answer what the host has said last, or nonsense.
    fn send_a_packet(&mut self) {
        let prng = &mut self.prng;
        let (heard, len) = self.heard.unwrap_or_default();
        let near = |prng: &mut Prng| prng.pick(&[0, 0, 0, 0, 0, 0, 1, 100, u32::MAX, 70_000]);
        let flags = heard.flags;
        let end = heard
            .seq
            .0
            .wrapping_add(len + u32::from(flags.has_syn()) + u32::from(flags.has_fin()));
        // Now and then somebody new comes.
        let comes = prng.chance(0.1);
        let port = if comes {
            self.net.remote.set_port(prng.between(5_000, 6_000) as u16);
            self.net.local.port()
        } else {
            heard.src_port
        };
        let segment = Segment {
            src_port: self.net.remote.port(),
            dst_port: port,
            seq: SeqNum(heard.ack.0.wrapping_add(near(prng))),
            ack: SeqNum(end.wrapping_add(near(prng))),
            flags: if comes {
                Flags::SYN
            } else if heard.flags == Flags::SYN {
                Flags::SYN | Flags::ACK
            } else if prng.chance(0.9) {
                Flags::ACK
            } else {
                prng.pick(&[
                    Flags::SYN,
                    Flags::ACK | Flags::FIN,
                    Flags::RST,
                    Flags::from_bits(0xff),
                ])
            },
            window: prng.pick(&[0, 1, 500, 65_535]),
            options: TcpOptions {
                mss: prng.pick(&[None, Some(1), Some(1460)]),
                timestamps: prng.pick(&[
                    None,
                    heard.options.timestamps.map(|t| Timestamps {
                        value: 1,
                        echo: t.value,
                    }),
                ]),
                ..TcpOptions::default()
            },
            ..Segment::default()
        };
        let payload = vec![1; prng.pick(&[0, 0, 1, 1_400])];
        let mut packet = packet(self.net.remote.ip(), self.net.local.ip(), &segment, &payload);
        if prng.chance(0.1) {
            let len = prng.below(packet.len() as u64) as usize;
            packet.truncate(len);
        }
        self.net.host.input(&packet);
    }

    /// Everything is closed; what TCP owes the peer it pays, or gives up.
    fn end(mut self) {
        let waiting: Vec<_> = self.net.host.waiting().collect();
        for ticket in waiting {
            self.net.host.interrupt(ticket);
        }
        // Calls that waited may have opened some that nobody knows of.
        for fd in 3..3 + STEPS as i32 {
            if let Outcome::WouldBlock(ticket) = self.net.host.call(Call::Close { fd }) {
                self.net.pass(Duration::from_secs(3_600));
                assert!(self.net.host.reply(ticket).is_some(), "a lingering close ends");
            }
        }
        self.net.pass(Duration::from_secs(2 * 3_600));
        assert_eq!(self.net.host.connections(), 0, "nothing is left");
        assert_eq!(self.net.host.waiting().count(), 0, "nobody waits");
    }
}

fn draw_value(prng: &mut Prng) -> Vec<u8> {
    let number: i32 = prng.pick(&[-1, 0, 1, 2, 1_000]);
    let twice = [number.to_ne_bytes(), 1i32.to_ne_bytes()].concat();
    match prng.below(4) {
        0 => Vec::new(),
        1 => twice,
        _ => number.to_ne_bytes().to_vec(),
    }
}

#[test]
fn whatever_comes_nothing_breaks_and_nothing_is_left() {
    let (mut accepted, mut moved) = (0, 0);
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        accepted += run.accepted;
        moved += run.moved;
        run.end();
    }
    // Else nothing of it would mean much.
    assert!(
        accepted > SEEDS && moved > 2 * SEEDS,
        "{accepted} accepted, {moved} calls moved bytes"
    );
}
