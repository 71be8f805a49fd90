//! Frames as lines that a person can read.

use std::collections::VecDeque;
use std::fmt::Write;

use crore_base::{Instant, RxChecksum, SeqNum};
use crore_nic::sim::{End, Tapped};
use crore_wire::{Flags, Packet, Segment, parse};

/// The last frames of a run.
pub struct Trace {
    keep: usize,
    lines: VecDeque<String>,
    live: bool,
    /// The first SYN's sequence number from each end, and when it was sent.
    first_syn: [Option<(Instant, SeqNum)>; 2],
    /// SYN-ACKs from each end.
    syn_acks: [u64; 2],
}

impl Trace {
    /// Keeps the last `keep` lines; `live` prints each at once.
    pub fn new(keep: usize, live: bool) -> Self {
        Self {
            keep,
            lines: VecDeque::new(),
            live,
            first_syn: [None; 2],
            syn_acks: [0; 2],
        }
    }

    /// Records a frame that enters the link.
    pub fn record(&mut self, tapped: &Tapped<'_>) {
        let parsed = parse(tapped.frame, RxChecksum::Partial);
        if let Ok(frame) = &parsed
            && let Packet::Tcp { segment, .. } = &frame.packet
            && segment.flags.has_syn()
        {
            self.first_syn[tapped.from as usize].get_or_insert((tapped.at, segment.seq));
            self.syn_acks[tapped.from as usize] += u64::from(segment.flags.contains(Flags::ACK));
        }
        if self.keep == 0 && !self.live {
            return;
        }
        let arrow = match (tapped.from, tapped.arrives) {
            (End::Left, Some(_)) => "-->",
            (End::Left, None) => "-x ",
            (End::Right, Some(_)) => "<--",
            (End::Right, None) => " x-",
        };
        let what = match parsed {
            Ok(frame) => packet(&frame.packet),
            Err(reason) => format!("unreadable ({})", reason.name()),
        };
        self.note(tapped.at, &format!("{arrow} {what}"));
    }

    /// Records something else.
    pub fn note(&mut self, at: Instant, what: &str) {
        if self.keep == 0 && !self.live {
            return;
        }
        let line = format!("{at:?} {what}");
        if self.live {
            println!("{line}");
        }
        if self.keep > 0 {
            if self.lines.len() == self.keep {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// SYN-ACKs that `end` sent.
    pub fn syn_acks(&self, end: End) -> u64 {
        self.syn_acks[end as usize]
    }

    /// When the first SYN from `end` was sent, and its sequence number.
    pub fn first_syn(&self, end: End) -> Option<(Instant, SeqNum)> {
        self.first_syn[end as usize]
    }
}

fn packet(packet: &Packet) -> String {
    match packet {
        Packet::Tcp {
            segment: seg,
            payload,
            ip,
        } => {
            let ends = format!("{}:{} > {}:{}", ip.src, seg.src_port, ip.dst, seg.dst_port);
            format!("{ends} {}", segment(seg, payload.len()))
        }
        Packet::Arp(arp) => format!("{arp:?}"),
        other => {
            let mut text = format!("{other:?}");
            text.truncate(160);
            text
        }
    }
}

fn segment(seg: &Segment, len: usize) -> String {
    const NAMES: [(Flags, char); 8] = [
        (Flags::SYN, 'S'),
        (Flags::FIN, 'F'),
        (Flags::RST, 'R'),
        (Flags::PSH, 'P'),
        (Flags::ACK, '.'),
        (Flags::URG, 'U'),
        (Flags::ECE, 'E'),
        (Flags::CWR, 'C'),
    ];
    let set = NAMES.iter().filter(|(flag, _)| seg.flags.contains(*flag));
    let flags: String = set.map(|(_, name)| name).collect();
    let (from, to) = (seg.seq, seg.seq + len as u32);
    let mut text = format!(
        "[{flags}] {from:?}..{to:?} ({len}) ack {:?} win {}",
        seg.ack, seg.window
    );
    let options = &seg.options;
    if let Some(mss) = options.mss {
        let _ = write!(text, " mss {mss}");
    }
    if let Some(scale) = options.window_scale {
        let _ = write!(text, " wscale {}", scale.shift());
    }
    if let Some(ts) = options.timestamps {
        let _ = write!(text, " ts {}/{}", ts.value, ts.echo);
    }
    for (left, right) in options.sack.iter() {
        let _ = write!(text, " sack {left:?}..{right:?}");
    }
    text
}
