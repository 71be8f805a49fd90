//! A peer, and an application, that do as they please: nothing panics, nothing
//! grows without a bound, and what is always true stays true.

use crore_base::{Duration, SeqNum, WindowScale};
use crore_tcp::{Config, Keepalive, State, Unreachable};
use crore_wire::{Flags, SackBlocks, Segment, TcpOptions, Timestamps};
use proptest::prelude::*;

use crate::lone::{IRS, Lone, seg, syn};

#[derive(Clone, Debug)]
enum Step {
    Segment {
        flags: u8,
        seq: i32,
        ack: i32,
        window: u16,
        options: Options,
        payload: usize,
    },
    Time(u64),
    Timer,
    Transmit,
    Write(usize),
    Read,
    ShutDown,
    Close,
    Abort,
    PathMtu(u16),
    Unreachable(bool),
}

#[derive(Clone, Debug)]
struct Options {
    timestamps: Option<(i32, i32)>,
    sack: Vec<(i32, i32)>,
    mss: Option<u16>,
    scale: Option<u8>,
    permitted: bool,
}

/// Mostly where it matters, sometimes anywhere.
fn near() -> impl Strategy<Value = i32> {
    prop_oneof![8 => -3..12i32, 3 => -3_000..30_000i32, 1 => any::<i32>()]
}

fn options() -> impl Strategy<Value = Options> {
    (
        prop_oneof![1 => Just(None), 3 => (near(), near()).prop_map(Some)],
        proptest::collection::vec((near(), near()), 0..5),
        proptest::option::of(any::<u16>()),
        proptest::option::of(any::<u8>()),
        any::<bool>(),
    )
        .prop_map(|(timestamps, sack, mss, scale, permitted)| Options {
            timestamps,
            sack,
            mss,
            scale,
            permitted,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        20 => Just(0x10u8),
        6 => Just(0x18),
        3 => Just(0x11),
        1 => Just(0x02),
        1 => Just(0x12),
        1 => Just(0x04),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![3 => Just(0usize), 2 => 1..20usize, 1 => 1..1_500usize];
    let window = prop_oneof![1 => Just(0u16), 2 => 1..50u16, 3 => any::<u16>()];
    prop_oneof![
        30 => (flags, near(), near(), window, options(), payload).prop_map(
            |(flags, seq, ack, window, options, payload)| Step::Segment { flags, seq, ack, window, options, payload }
        ),
        3 => (0..3_000u64).prop_map(Step::Time),
        4 => Just(Step::Timer),
        12 => Just(Step::Transmit),
        6 => (1..5_000usize).prop_map(Step::Write),
        6 => Just(Step::Read),
        1 => Just(Step::ShutDown),
        1 => prop_oneof![8 => Just(Step::Transmit), 1 => Just(Step::Close), 1 => Just(Step::Abort)],
        1 => any::<u16>().prop_map(Step::PathMtu),
        1 => any::<bool>().prop_map(Step::Unreachable),
    ]
}

/// Numbers are relative to what the connection expects.
fn segment(lone: &Lone, flags: u8, seq: i32, ack: i32, window: u16, options: &Options) -> Segment {
    let at = |base: SeqNum, offset: i32| SeqNum(base.0.wrapping_add_signed(offset));
    let una = lone.conn.snd_una();
    let expected = if lone.conn.state() == State::SynSent {
        IRS
    } else {
        lone.conn.rcv_nxt()
    };
    let mut sack = SackBlocks::new();
    for &(left, right) in &options.sack {
        sack.push(at(una, left), at(una, right));
    }
    Segment {
        seq: at(expected, seq),
        ack: at(una, ack),
        flags: Flags::from_bits(flags.into()),
        window,
        options: TcpOptions {
            mss: options.mss,
            window_scale: options.scale.map(WindowScale::new),
            sack_permitted: options.permitted,
            timestamps: options.timestamps.map(|(value, echo)| Timestamps {
                value: 1_000u32.wrapping_add_signed(value),
                echo: (lone.now.as_millis() as u32).wrapping_add_signed(echo),
            }),
            sack,
            ..TcpOptions::default()
        },
        ..Segment::default()
    }
}

fn take(lone: &mut Lone, step: &Step) {
    match step {
        Step::Segment {
            flags,
            seq,
            ack,
            window,
            options,
            payload,
        } => {
            let segment = segment(lone, *flags, *seq, *ack, *window, options);
            lone.recv(&segment, &vec![7; *payload]);
        }
        Step::Time(ms) => lone.pass(Duration::from_millis(*ms)),
        Step::Timer => {
            if lone.conn.next_timeout().is_some() {
                lone.wait();
            }
        }
        Step::Transmit => {
            lone.out_raw();
        }
        Step::Write(n) => {
            let _ = lone.conn.write(&vec![1; *n]);
        }
        Step::Read => {
            lone.read_all();
            lone.events();
        }
        Step::ShutDown => lone.conn.shutdown_write(),
        Step::Close => lone.conn.close(lone.now),
        Step::Abort => lone.conn.abort(),
        Step::PathMtu(mss) => {
            let una = lone.conn.snd_una();
            lone.conn.on_path_mtu(lone.now, una, *mss);
        }
        Step::Unreachable(hard) => lone.conn.on_unreachable(lone.now, Unreachable::Host, *hard),
    }
    lone.conn.assert_invariants();
}

proptest! {
    #[test]
    fn whatever_comes_nothing_breaks(
        passive in any::<bool>(),
        established in prop_oneof![3 => Just(true), 1 => Just(false)],
        (sack, timestamps, window_scaling, nodelay) in any::<(bool, bool, bool, bool)>(),
        receive_buffer in prop_oneof![0..100u32, 100..100_000u32],
        send_buffer in prop_oneof![0..100u32, 100..100_000u32],
        max_reassembly_chunks in 0..20u16,
        delayed in any::<bool>(),
        keepalive in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let config = Config {
            sack,
            timestamps,
            window_scaling,
            nodelay,
            receive_buffer,
            send_buffer,
            max_reassembly_chunks,
            delayed_ack: Duration::from_millis(if delayed { 40 } else { 0 }),
            keepalive: if keepalive { Keepalive::every(Duration::from_secs(1)) } else { Keepalive::OFF },
            ..Config::default()
        };
        let mut first = syn();
        first.options.sack_permitted = true;
        first.options.window_scale = Some(WindowScale::new(4));
        first.options.timestamps = Some(Timestamps { value: 1_000, echo: 0 });
        let mut lone = if passive { Lone::answering(config, &first) } else { Lone::opening(config) };
        if established {
            lone.out_raw();
            let mut next = if passive { seg(Flags::ACK, 1, 1) } else { seg(Flags::SYN | Flags::ACK, 0, 1) };
            next.options = first.options;
            lone.recv(&next, b"");
            prop_assert_eq!(lone.conn.state(), State::Established, "the beginning is orderly");
        }
        for step in &steps {
            take(&mut lone, step);
            let buffered = lone.conn.stats().buffered;
            let bound = 6 * receive_buffer as usize + 40_000;
            prop_assert!(buffered.receive <= bound, "{} bytes pinned by unread data", buffered.receive);
            prop_assert!(buffered.reassembly <= bound, "{} bytes pinned by early data", buffered.reassembly);
            let bound = 6 * send_buffer as usize + 40_000;
            prop_assert!(buffered.send <= bound, "{} bytes pinned by unsent data", buffered.send);
        }
        // Left alone, it ends or rests: no timer runs in circles.
        for _ in 0..400 {
            lone.out_raw();
            lone.read_all();
            lone.events();
            if lone.conn.next_timeout().is_none() {
                break;
            }
            lone.wait();
        }
        prop_assert!(
            lone.conn.next_timeout().is_none(),
            "still waiting for something in {:?}",
            lone.conn.state()
        );
    }
}
