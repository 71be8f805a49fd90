//! Tables of odd option bytes, and the layouts that are written.

use super::*;
use crate::AccEcnOrder::{Ect0First, Ect1First};
use proptest::prelude::*;

fn blocks(list: &[(u32, u32)]) -> SackBlocks {
    let mut sack = SackBlocks::new();
    for &(left, right) in list {
        assert!(sack.push(SeqNum(left), SeqNum(right)), "a table has at most four");
    }
    sack
}

#[test]
fn odd_options_are_read_as_leniently_as_deployed_stacks_do() {
    let none = TcpOptions::default();
    let mss = TcpOptions {
        mss: Some(1460),
        ..none
    };
    let fast_open = |cookie: &[u8]| TcpOptions {
        fast_open: FastOpenCookie::new(cookie),
        ..none
    };
    let stamps = |value, echo| TcpOptions {
        timestamps: Some(Timestamps { value, echo }),
        ..none
    };
    let marks = |order, counters: &[u32]| TcpOptions {
        accurate_ecn: Some(AccEcnOption::new(order, counters)),
        ..none
    };
    let cases: &[(&str, &[u8], TcpOptions)] = &[
        ("nothing", &[], none),
        ("only padding", &[1, 1, 1, 0], none),
        ("what follows the end is not read", &[0, 2, 4, 5, 180], none),
        ("MSS", &[2, 4, 5, 180], mss),
        ("length 0 ends it", &[2, 4, 5, 180, 3, 0, 7, 0], mss),
        ("length 1 ends it", &[2, 4, 5, 180, 3, 1, 7, 0], mss),
        ("a kind without length ends it", &[2, 4, 5, 180, 1, 1, 1, 3], mss),
        ("a truncated one ends it", &[2, 4, 5, 180, 8, 10, 1, 2, 3, 4], mss),
        (
            "an unknown one is skipped",
            &[254, 6, 9, 9, 9, 9, 2, 4, 5, 180],
            mss,
        ),
        (
            "an empty unknown one is skipped",
            &[77, 2, 2, 4, 5, 180, 1, 1],
            mss,
        ),
        (
            "MSS of another length is skipped",
            &[2, 3, 9, 2, 4, 5, 180, 0],
            mss,
        ),
        (
            "the last of several counts",
            &[2, 4, 0, 1, 2, 4, 0, 2, 2, 4, 5, 180],
            mss,
        ),
        (
            "a scale above 14 is 14",
            &[3, 3, 200, 0],
            TcpOptions {
                window_scale: Some(WindowScale::MAX),
                ..none
            },
        ),
        (
            "SACK permitted",
            &[4, 2, 0, 0],
            TcpOptions {
                sack_permitted: true,
                ..none
            },
        ),
        ("SACK permitted with a body is not it", &[4, 4, 0, 0], none),
        (
            "timestamps, the fast layout",
            &[1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 1, 0],
            stamps(7, 256),
        ),
        (
            "timestamps, another layout",
            &[8, 10, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0],
            stamps(7, 256),
        ),
        (
            "timestamps of another length are skipped",
            &[1, 1, 8, 9, 0, 0, 0, 7, 0, 0, 1, 0],
            none,
        ),
        (
            "one SACK block",
            &[5, 10, 0, 0, 0, 1, 0, 0, 0, 9],
            TcpOptions {
                sack: blocks(&[(1, 9)]),
                ..none
            },
        ),
        ("Fast Open asks", &[34, 2, 0, 0], fast_open(&[])),
        (
            "Fast Open with a cookie",
            &[34, 8, 1, 2, 3, 4, 5, 6],
            fast_open(&[1, 2, 3, 4, 5, 6]),
        ),
        //= rfc7413#section-4.1.1 (MUST)
        ("a cookie of odd length is none", &[34, 7, 1, 2, 3, 4, 5, 0], none),
        ("a cookie too short is none", &[34, 4, 1, 2], none),
        (
            "a cookie too long is none",
            &[[34, 20].as_slice(), &[7; 18]].concat(),
            none,
        ),
        (
            "accurate ECN",
            &[172, 5, 0, 1, 2, 1, 1, 0],
            marks(Ect0First, &[0x102]),
        ),
        ("accurate ECN, empty", &[174, 2, 1, 1], marks(Ect1First, &[])),
        (
            "accurate ECN of an odd length is read as far as it is whole",
            &[174, 10, 0, 0, 1, 0, 0, 2, 9, 9, 0, 0],
            marks(Ect1First, &[1, 2]),
        ),
        (
            "accurate ECN longer than it need be",
            &[172, 14, 0, 0, 1, 0, 0, 2, 0, 0, 3, 9, 9, 9, 0, 0],
            marks(Ect0First, &[1, 2, 3]),
        ),
        (
            "accurate ECN in both orders: the last one counts",
            &[172, 2, 174, 5, 0, 0, 7, 0],
            marks(Ect1First, &[7]),
        ),
        ("accurate ECN cut short", &[172, 11, 0, 0, 1, 0, 0, 2], none),
        ("SACK without blocks", &[5, 2, 0, 0], none),
        ("SACK with half a block", &[5, 6, 0, 0, 0, 1, 0, 0], none),
    ];
    for (what, bytes, wanted) in cases {
        assert_eq!(TcpOptions::parse(bytes), *wanted, "{what}: {bytes:?}");
        if let Some(fast) = timestamps_alone(bytes) {
            assert_eq!(fast, *wanted, "{what}: the short cut says the same");
        }
    }
}

#[test]
fn no_more_than_four_sack_blocks_are_taken() {
    let mut bytes = vec![5, 2 + 8 * 6];
    bytes.extend([7; 48]);
    assert_eq!(
        TcpOptions::parse(&bytes).sack.len(),
        4,
        "more don't fit a real header, but the parser must not care"
    );
}

#[test]
fn a_syn_with_everything_takes_twenty_bytes() {
    let options = TcpOptions {
        mss: Some(1460),
        window_scale: Some(WindowScale::new(7)),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 1, echo: 0 }),
        sack: SackBlocks::new(),
        fast_open: None,
        accurate_ecn: None,
        order: OptionOrder::Linux,
    };
    assert_eq!(options.encoded_len(), 20, "the layout that others send, too");
}

/// Protects a full header from a cookie that does not fit, in either order.
#[test]
fn the_longest_cookie_fits_beside_everything_else_on_a_syn() {
    for order in [OptionOrder::Linux, OptionOrder::FreeBsd] {
        for (len, timestamps) in [(0, true), (4, true), (16, true), (16, false), (6, false)] {
            let options = TcpOptions {
                mss: Some(1460),
                window_scale: Some(WindowScale::new(7)),
                sack_permitted: true,
                timestamps: timestamps.then_some(Timestamps { value: 1, echo: 0 }),
                fast_open: FastOpenCookie::new(&[9; 16][..len]),
                order,
                ..TcpOptions::default()
            };
            let mut out = vec![0; options.encoded_len()];
            assert!(out.len() <= 40, "{order:?}, {len} bytes: the header has room");
            assert_eq!(
                options.write(&mut out),
                Some(()),
                "{order:?}, {len} bytes: written"
            );
            let read = TcpOptions {
                order,
                ..TcpOptions::parse(&out)
            };
            assert_eq!(read, options, "{order:?}, {len} bytes: and read again");
        }
    }
}

#[test]
fn sack_blocks_that_do_not_fit_are_left_out() {
    let sack = blocks(&[(1, 2), (3, 4), (5, 6), (7, 8)]);
    let mut options = TcpOptions {
        sack,
        ..TcpOptions::default()
    };
    assert_eq!(options.encoded_len(), 36, "all four");
    options.timestamps = Some(Timestamps::default());
    assert_eq!(
        options.encoded_len(),
        40,
        "three beside timestamps (RFC 2018 section 3)"
    );
    let mut out = [0; 40];
    assert_eq!(options.write(&mut out), Some(()), "they fill the header");
    assert_eq!(
        TcpOptions::parse(&out).sack,
        blocks(&[(1, 2), (3, 4), (5, 6)]),
        "the first ones"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let options = TcpOptions::parse(&bytes);
        prop_assert!(options.encoded_len() <= 40 && options.encoded_len().is_multiple_of(4));
        let mut out = [0; 40];
        prop_assert_eq!(options.write(&mut out[..options.encoded_len()]), Some(()));
    }

    #[test]
    fn a_buffer_of_another_length_is_refused(len in 0usize..64) {
        let options = TcpOptions { mss: Some(1), ..TcpOptions::default() };
        let mut out = [0; 64];
        prop_assert_eq!(options.write(&mut out[..len]).is_some(), len == 4);
    }
}

#[test]
fn each_order_is_that_of_its_system_and_of_one_length() {
    let full = TcpOptions {
        mss: Some(1460),
        window_scale: Some(WindowScale::new(7)),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 1, echo: 2 }),
        ..TcpOptions::default()
    };
    let without_stamps = TcpOptions {
        timestamps: None,
        ..full
    };
    let without_sack = TcpOptions {
        sack_permitted: false,
        ..full
    };
    let cases: [(TcpOptions, &[u8], &[u8]); 3] = [
        (
            full,
            &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7],
            &[2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        ),
        (
            without_stamps,
            &[2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7],
            &[2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 0, 0],
        ),
        (
            without_sack,
            &[2, 4, 5, 180, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7],
            &[2, 4, 5, 180, 1, 3, 3, 7, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        ),
    ];
    for (options, linux, freebsd) in cases {
        for (order, wanted) in [(OptionOrder::Linux, linux), (OptionOrder::FreeBsd, freebsd)] {
            let options = TcpOptions { order, ..options };
            let mut out = vec![0xee; options.encoded_len()];
            options.write(&mut out).expect("the length is what was said");
            assert_eq!(out, wanted, "{options:?}");
            let back = TcpOptions::parse(&out);
            assert_eq!(TcpOptions { order, ..back }, options, "read back");
        }
    }
}

/// Protects a full header from counters that do not fit: they stand behind what has
/// its place, and before SACK blocks.
#[test]
fn accurate_ecn_takes_the_room_that_is_left_before_sack_blocks_do() {
    let sack = blocks(&[(1, 2), (3, 4), (5, 6), (7, 8)]);
    let stamps = Some(Timestamps { value: 1, echo: 2 });
    for (order, counters, timestamps, len, blocks) in [
        (Ect0First, &[1, 2, 3][..], None, 12 + 28, 3),
        (Ect1First, &[1, 2, 3], stamps, 12 + 12 + 12, 1),
        (Ect0First, &[1, 2], stamps, 12 + 8 + 20, 2),
        (Ect1First, &[1], stamps, 12 + 8 + 20, 2),
        (Ect0First, &[], stamps, 12 + 4 + 20, 2),
    ] {
        let options = TcpOptions {
            timestamps,
            sack,
            accurate_ecn: Some(AccEcnOption::new(order, counters)),
            ..TcpOptions::default()
        };
        assert_eq!(options.encoded_len(), len, "{options:?}");
        let mut out = vec![0xee; len];
        assert_eq!(options.write(&mut out), Some(()), "{options:?}");
        let read = TcpOptions::parse(&out);
        assert_eq!(read.accurate_ecn, options.accurate_ecn, "read again");
        assert_eq!(read.sack.len(), blocks, "{options:?}");
    }
    for order in [OptionOrder::Linux, OptionOrder::FreeBsd] {
        let mut options = TcpOptions {
            mss: Some(1460),
            window_scale: Some(WindowScale::new(7)),
            sack_permitted: true,
            timestamps: stamps,
            accurate_ecn: Some(AccEcnOption::new(Ect0First, &[1, 0, 1])),
            order,
            ..TcpOptions::default()
        };
        assert_eq!(options.encoded_len(), 32, "a SYN-ACK");
        options.timestamps = None;
        let mut out = vec![0xee; options.encoded_len()];
        assert_eq!(options.write(&mut out), Some(()));
        assert_eq!(
            TcpOptions {
                order,
                ..TcpOptions::parse(&out)
            },
            options,
            "{order:?}"
        );
        options.timestamps = stamps;
        options.fast_open = FastOpenCookie::new(&[9; 16]);
        let mut out = vec![0xee; options.encoded_len()];
        assert_eq!(
            (options.write(&mut out), out.len()),
            (Some(()), 40),
            "no room at all"
        );
        assert_eq!(TcpOptions::parse(&out).accurate_ecn, None, "it is left out");
    }
}
