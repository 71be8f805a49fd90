//! `crore bench parse` and `crore bench lookup`: one step of the path in this
//! process, without a wire, on one core.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use clap::Args;
use crore::{FourTuple, MacAddr};
use crore_base::RxChecksum;
use crore_slab::HugeVec;
use crore_stack::{FlowHasher, FlowTable};
use crore_wire::{IpEmit, Link, Segment, Timestamps, TxChecksum, emit_tcp, parse};
use serde::Serialize;

use super::{MicroCommon, grouped, report_of};
use crate::failure::Failure;

/// Each figure is the best of so many runs: what disturbs one makes it slower only.
const RUNS: usize = 5;

#[derive(Debug, Args)]
pub(super) struct ParseArguments {
    #[command(flatten)]
    common: MicroCommon,
    /// Bytes of payload
    #[arg(long, value_delimiter = ',', default_value = "0,64,1448", value_parser = clap::value_parser!(u16).range(0..=1448))]
    size: Vec<u16>,
}

#[derive(Debug, Args)]
pub(super) struct LookupArguments {
    #[command(flatten)]
    common: MicroCommon,
    /// Connections in the table
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    entries: Vec<u32>,
    /// Look-ups whose memory is asked for at once
    #[arg(long, value_delimiter = ',', default_value = "1,32", value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: Vec<u16>,
}

#[derive(Serialize)]
struct Rows<T> {
    rows: Vec<T>,
}

const TIMESTAMPS: Timestamps = Timestamps { value: 1, echo: 2 };

#[derive(Serialize)]
struct ParseRow {
    payload: u16,
    frame: usize,
    nanoseconds: f64,
}

/// Frames taken apart, both checksums verified in software.
pub(super) fn parsing(arguments: &ParseArguments) -> Result<(), Failure> {
    let count = if arguments.common.quick {
        100_000
    } else {
        5_000_000
    };
    let mut rows = Vec::new();
    for &payload in &arguments.size {
        let frame = frame_of(payload);
        let nanoseconds = best(count, || {
            for _ in 0..count {
                let parsed = parse(black_box(&frame), RxChecksum::Unknown);
                black_box(parsed.is_ok());
            }
        });
        rows.push(ParseRow {
            payload,
            frame: frame.len(),
            nanoseconds,
        });
    }
    let mut table = vec![format!("{:>8}{:>8}{:>12}", "payload", "frame", "ns a frame")];
    table.extend(
        rows.iter()
            .map(|row| format!("{:>8}{:>8}{:>12.1}", row.payload, row.frame, row.nanoseconds)),
    );
    report_of("parse", &arguments.common, &Rows { rows }, &table)
}

fn frame_of(payload: u16) -> Vec<u8> {
    let mut buf = vec![0; 2048];
    let link = Link {
        src: MacAddr([2, 0, 0, 0, 0, 1]),
        dst: MacAddr([2, 0, 0, 0, 0, 2]),
    };
    let ip = IpEmit {
        src: IpAddr::V4(Ipv4Addr::new(10, 80, 0, 1)),
        dst: IpAddr::V4(Ipv4Addr::new(10, 80, 0, 2)),
        hop_limit: 64,
        ecn: 0,
        ident: 1,
    };
    let mut segment = Segment {
        src_port: 40_000,
        dst_port: 7,
        ..Segment::default()
    };
    segment.options.timestamps = Some(TIMESTAMPS);
    let len = emit_tcp(
        &mut buf,
        &link,
        &ip,
        &segment,
        payload.into(),
        TxChecksum::Software,
    );
    buf.truncate(len);
    buf
}

#[derive(Serialize)]
struct LookupRow {
    entries: u32,
    batch: u16,
    nanoseconds: f64,
    pages: String,
}

/// As much of a record as a look-up reads.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Record(u64);

/// Tuples drawn at random, hashed, found, and compared with their record.
pub(super) fn lookups(arguments: &LookupArguments) -> Result<(), Failure> {
    let (count, usual) = if arguments.common.quick {
        (10_000, vec![1000, 100_000])
    } else {
        (2_000_000, vec![1000, 10_000, 100_000, 1_000_000, 10_000_000])
    };
    let sizes = if arguments.entries.is_empty() {
        usual
    } else {
        arguments.entries.clone()
    };
    let hasher = FlowHasher::new([7; 16]);
    let no_memory = |e| Failure::run(format!("{e}"));
    let mut rows = Vec::new();
    for entries in sizes {
        let mut table = FlowTable::new(entries).map_err(no_memory)?;
        let mut records = HugeVec::with_capacity(entries as usize).map_err(no_memory)?;
        for index in 0..entries {
            records.push(Record(index.into()));
            table.insert(hasher.hash(&tuple_of(index)), index);
        }
        for &batch in &arguments.batch {
            let mut state = 1u64;
            let nanoseconds = best(count, || {
                look_up(&hasher, &table, &records, &mut state, count, batch)
            });
            rows.push(LookupRow {
                entries,
                batch,
                nanoseconds,
                pages: format!("{:?}", table.pages()).to_lowercase(),
            });
        }
    }
    let mut table = vec![format!(
        "{:>14}{:>7}{:>14}{:>14}",
        "connections", "batch", "ns a look-up", "pages"
    )];
    table.extend(rows.iter().map(|row| {
        format!(
            "{:>14}{:>7}{:>14.1}{:>14}",
            grouped(row.entries.into()),
            row.batch,
            row.nanoseconds,
            row.pages
        )
    }));
    report_of("lookup", &arguments.common, &Rows { rows }, &table)
}

fn look_up(
    hasher: &FlowHasher,
    table: &FlowTable,
    records: &HugeVec<Record>,
    state: &mut u64,
    count: usize,
    batch: u16,
) {
    let mut wanted = [(0u32, 0u32); 64];
    let wanted = &mut wanted[..batch.into()];
    for _ in 0..count.div_ceil(wanted.len()) {
        for place in wanted.iter_mut() {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let index = (((*state >> 32) * records.len() as u64) >> 32) as u32;
            *place = (index, hasher.hash(&tuple_of(index)));
        }
        if wanted.len() > 1 {
            wanted.iter().for_each(|&(_, hash)| table.prefetch(hash));
            for &(_, hash) in wanted.iter() {
                if let Some(slot) = table.candidate(hash) {
                    records.prefetch(slot as usize);
                }
            }
        }
        for &(index, hash) in wanted.iter() {
            let found = table.find(hash, |slot| records[slot as usize].0 == u64::from(index));
            assert_eq!(found, Some(index), "what was inserted is found");
        }
    }
}

fn tuple_of(index: u32) -> FourTuple {
    FourTuple {
        local_addr: IpAddr::V4(Ipv4Addr::new(10, 80, 0, 2)),
        local_port: 7,
        remote_addr: IpAddr::V4(Ipv4Addr::from(0x0a51_0000 | index >> 15)),
        remote_port: 10_000 + (index & 0x7fff) as u16,
    }
}

/// Nanoseconds for each of `count`, in the best of some runs.
fn best(count: usize, mut run: impl FnMut()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let began = Instant::now();
        run();
        least = least.min(began.elapsed().as_nanos() as f64 / count as f64);
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_one_that_a_stack_takes() {
        for payload in [0, 64, 1448] {
            let frame = frame_of(payload);
            assert_eq!(frame.len(), 14 + 20 + 32 + usize::from(payload));
            assert!(parse(&frame, RxChecksum::Unknown).is_ok(), "{payload} bytes");
        }
    }

    #[test]
    fn no_two_of_a_hundred_million_tuples_are_the_same() {
        let key = |index: u32| {
            let tuple = tuple_of(index);
            (tuple.remote_addr, tuple.remote_port)
        };
        for index in [0, 32_767, 32_768, 65_535, 99_999_998] {
            assert_ne!(key(index), key(index + 1), "{index}");
        }
        assert_ne!(key(0), key(32_768), "the ports come again with another address");
    }
}
