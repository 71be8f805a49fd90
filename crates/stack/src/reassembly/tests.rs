use super::*;
use crore_wire::IpInfo;
use proptest::prelude::*;

const HEADERS: usize = 14 + 40 + 8;

fn limits() -> FragmentLimits {
    FragmentLimits {
        bytes: 1 << 20,
        datagrams: 64,
    }
}

fn reassembler(limits: FragmentLimits) -> Reassembler {
    Reassembler::new(limits, [7; 16])
}

/// The bytes from `offset` to `end` of the datagram `id` of the host `host`, in
/// a frame; `whole` is all of it.
fn piece(host: u16, id: u32, whole: &[u8], offset: usize, end: usize) -> (Fragment, Vec<u8>) {
    let mut frame = vec![0; HEADERS];
    frame[14] = 0x60;
    frame[20] = 44;
    frame.extend_from_slice(&whole[offset..end]);
    let fragment = Fragment {
        ip: IpInfo {
            src: IpAddr::from([0x2001, 0xdb8, 0, host, 0, 0, 0, 1]),
            dst: IpAddr::from([0x2001, 0xdb8, 9, 0, 0, 0, 0, 2]),
            hop_limit: 64,
            ecn: 0,
            header_len: 48,
        },
        id,
        protocol: 58,
        offset: offset as u16,
        more: end < whole.len(),
        data: HEADERS..frame.len(),
        named_at: 6,
    };
    (fragment, frame)
}

struct Bench {
    reassembler: Reassembler,
    drops: DropCounters,
    now: Instant,
}

impl Bench {
    fn new(limits: FragmentLimits) -> Self {
        Self {
            reassembler: reassembler(limits),
            drops: DropCounters::new(),
            now: Instant::from_millis(1),
        }
    }

    fn take(&mut self, piece: &(Fragment, Vec<u8>)) -> Result<Reassembly, DropReason> {
        let (fragment, frame) = piece;
        self.reassembler
            .on_fragment(self.now, fragment, frame, &mut self.drops)
    }

    fn assert_consistent(&self) {
        let r = &self.reassembler;
        let charged: usize = r.waiting.values().map(|d| d.charged).sum();
        assert_eq!(charged, r.bytes, "every byte that is charged is somebody's");
        assert!(
            r.bytes <= r.limits.bytes && r.waiting.len() <= r.limits.datagrams,
            "within the limits"
        );
        let parts: usize = r.senders.values().map(|p| p.datagrams).sum();
        assert_eq!(parts, r.waiting.len(), "every datagram is some sender's");
        for part in r.senders.values() {
            assert!(part.bytes <= r.limits.bytes / SENDERS, "a quarter each");
        }
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

/// Cuts of a datagram of `units` times eight bytes and a rest.
fn cuts(len: usize, at: &[prop::sample::Index]) -> Vec<(usize, usize)> {
    let units = len.div_ceil(8);
    let mut marks: Vec<usize> = at.iter().map(|i| i.index(units) * 8).filter(|&m| m > 0).collect();
    marks.push(len);
    marks.sort_unstable();
    marks.dedup();
    let mut from = 0;
    let cut = |to| {
        let piece = (from, to);
        from = to;
        piece
    };
    marks.into_iter().map(cut).collect()
}

proptest! {
    #[test]
    fn fragments_in_any_order_with_doubles_make_the_datagram(
        len in 9usize..4000,
        at in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
        order in any::<prop::sample::Index>(),
        doubles in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        seed in any::<u64>(),
    ) {
        let whole = bytes(len);
        let mut pieces: Vec<_> = cuts(len, &at).into_iter().map(|(a, b)| piece(1, 5, &whole, a, b)).collect();
        // A shuffle that the seed decides.
        let n = pieces.len();
        for i in 0..n {
            let j = (seed.rotate_left(i as u32) as usize + order.index(n)) % n;
            pieces.swap(i, j);
        }
        let mut bench = Bench::new(limits());
        let (last, first) = pieces.split_last().expect("at least one");
        for one in first {
            prop_assert_eq!(bench.take(one), Ok(Reassembly::Waits));
            bench.assert_consistent();
        }
        for double in doubles.iter().filter(|_| !first.is_empty()) {
            let again = &first[double.index(first.len())];
            prop_assert_eq!(bench.take(again), Err(DropReason::DuplicateFragment));
        }
        let Ok(Reassembly::Whole(frame)) = bench.take(last) else {
            return Err(TestCaseError::fail("the last one makes it whole"));
        };
        prop_assert_eq!(&frame[14 + 40..], &whole[..], "the fragment header is gone, the data in order");
        prop_assert_eq!(frame[20], 58, "the IPv6 header names what the first fragment's header named");
        prop_assert_eq!(usize::from(u16::from_be_bytes([frame[18], frame[19]])), len, "payload length");
        bench.assert_consistent();
        prop_assert_eq!(bench.reassembler.datagrams(), 0, "nothing is left");
    }

    // The model is a bitmap of what has come: a fragment that covers a byte
    // twice, and is not one that came before, spoils everything.
    #[test]
    fn an_overlap_never_delivers(
        pieces in prop::collection::vec((0usize..20, 1usize..6, any::<bool>()), 1..30),
    ) {
        let len = 20 * 8;
        let whole = bytes(len);
        let mut bench = Bench::new(limits());
        let mut seen = vec![false; len];
        let mut sent: Vec<(usize, usize)> = Vec::new();
        let mut spoilt = false;
        for (from, units, _) in pieces {
            let (from, to) = (from * 8, (from * 8 + units * 8).min(len));
            let answer = bench.take(&piece(1, 5, &whole, from, to));
            bench.assert_consistent();
            if spoilt {
                prop_assert_eq!(answer, Err(DropReason::OverlappingFragment), "it stays spoilt");
                continue;
            }
            if sent.contains(&(from, to)) {
                prop_assert_eq!(answer, Err(DropReason::DuplicateFragment));
                continue;
            }
            if seen[from..to].iter().any(|&s| s) {
                prop_assert_eq!(answer, Err(DropReason::OverlappingFragment));
                spoilt = true;
                continue;
            }
            seen[from..to].fill(true);
            sent.push((from, to));
            if seen.iter().all(|&s| s) {
                let Ok(Reassembly::Whole(frame)) = answer else {
                    return Err(TestCaseError::fail("all has come, once"));
                };
                prop_assert_eq!(&frame[54..], &whole[..]);
                seen.fill(false);
                sent.clear();
            } else {
                prop_assert_eq!(answer, Ok(Reassembly::Waits));
            }
        }
    }

    #[test]
    fn whatever_comes_the_limits_hold(
        pieces in prop::collection::vec((0u16..6, 0u32..12, 0usize..40, 1usize..40), 1..300),
    ) {
        let whole = bytes(80 * 8);
        let mut bench = Bench::new(FragmentLimits { bytes: 16_000, datagrams: 8 });
        for (host, id, from, units) in pieces {
            let (from, to) = (from * 8, ((from + units) * 8).min(whole.len()));
            let _ = bench.take(&piece(host, id, &whole, from, to));
            bench.assert_consistent();
            bench.now += Duration::from_millis(500);
            while bench.reassembler.poll_expired(bench.now, &mut bench.drops).is_some() {}
            let order: usize = bench.reassembler.order.iter().map(VecDeque::len).sum();
            prop_assert!(order <= 2 * 2 * 8 + 2, "what is gone does not pile up");
        }
        bench.now += Duration::from_secs(61);
        while bench.reassembler.poll_expired(bench.now, &mut bench.drops).is_some() {}
        prop_assert_eq!((bench.reassembler.bytes(), bench.reassembler.datagrams()), (0, 0), "all end");
    }
}

#[test]
fn a_changed_byte_in_a_double_is_an_overlap() {
    let whole = bytes(64);
    let mut bench = Bench::new(limits());
    assert_eq!(bench.take(&piece(1, 5, &whole, 0, 16)), Ok(Reassembly::Waits));
    let mut other = whole.clone();
    other[3] ^= 1;
    assert_eq!(
        bench.take(&piece(1, 5, &other, 0, 16)),
        Err(DropReason::OverlappingFragment),
        "the same place, other bytes"
    );
    assert_eq!(
        bench.take(&piece(1, 5, &whole, 16, 64)),
        Err(DropReason::OverlappingFragment),
        "nothing of it counts any more"
    );
    assert_eq!(
        bench.drops.get(DropReason::OverlappingFragment),
        1,
        "the one that had waited; the others are answers"
    );
    assert_eq!(bench.reassembler.bytes(), 0, "and nothing is kept of it");
}

#[test]
fn two_lengths_for_one_datagram_are_a_contradiction() {
    let whole = bytes(64);
    for (what, second) in [
        ("a second end", piece(1, 5, &whole[..40], 32, 40)),
        ("data behind the end", piece(1, 5, &bytes(128), 64, 72)),
    ] {
        let mut bench = Bench::new(limits());
        assert_eq!(bench.take(&piece(1, 5, &whole, 48, 64)), Ok(Reassembly::Waits));
        assert_eq!(
            bench.take(&second),
            Err(DropReason::OverlappingFragment),
            "{what}"
        );
    }
}

#[test]
fn a_datagram_that_stays_incomplete_is_given_up_and_its_first_fragment_handed_out() {
    let whole = bytes(64);
    let mut bench = Bench::new(limits());
    let first = piece(1, 5, &whole, 0, 16);
    bench.take(&first).expect("taken");
    bench.take(&piece(1, 6, &whole, 16, 32)).expect("taken");
    bench.now += Duration::from_millis(59_999);
    assert_eq!(
        bench.reassembler.poll_expired(bench.now, &mut bench.drops),
        None,
        "not yet"
    );
    bench.now += Duration::from_millis(1);
    let expired = bench.reassembler.poll_expired(bench.now, &mut bench.drops);
    assert_eq!(
        expired,
        Some(Expired { first: Some(first.1) }),
        "as it came, to be quoted"
    );
    let expired = bench.reassembler.poll_expired(bench.now, &mut bench.drops);
    assert_eq!(
        expired,
        Some(Expired { first: None }),
        "nobody is told without it (RFC 8200 4.5)"
    );
    assert_eq!(
        bench.drops.get(DropReason::FragmentTimedOut),
        2,
        "both are counted"
    );
    assert_eq!(bench.reassembler.next_timeout(), None, "nothing waits");
}

#[test]
fn one_sender_does_not_take_the_place_of_another() {
    let whole = bytes(64);
    let mut bench = Bench::new(FragmentLimits {
        bytes: 1 << 20,
        datagrams: 16,
    });
    bench.take(&piece(1, 1, &whole, 0, 16)).expect("an honest one");
    for id in 0..1000 {
        bench.take(&piece(2, id, &whole, 0, 16)).expect("taken");
        bench.assert_consistent();
    }
    let done = bench.take(&piece(1, 1, &whole, 16, 64));
    assert!(
        matches!(done, Ok(Reassembly::Whole(_))),
        "the flood pushed out its own alone"
    );
}

#[test]
fn marks_on_fragments_are_marks_on_the_datagram() {
    let whole = bytes(32);
    for (first, second, expected) in [
        (2, 3, Some(3)),
        (3, 2, Some(3)),
        (2, 2, Some(2)),
        (0, 0, Some(0)),
        (0, 3, None),
        (3, 0, None),
    ] {
        let mut bench = Bench::new(limits());
        let mut a = piece(1, 1, &whole, 0, 16);
        let mut b = piece(1, 1, &whole, 16, 32);
        (a.0.ip.ecn, b.0.ip.ecn) = (first, second);
        bench.take(&a).expect("taken");
        let ecn = match bench.take(&b) {
            Ok(Reassembly::Whole(frame)) => Some(frame[15] >> 4 & 3),
            _ => None,
        };
        assert_eq!(ecn, expected, "{first} and {second} (RFC 3168 section 5.3)");
    }
}

#[test]
fn where_none_are_wanted_none_are_kept() {
    let mut bench = Bench::new(FragmentLimits {
        bytes: 0,
        datagrams: 8,
    });
    assert_eq!(
        bench.take(&piece(1, 1, &bytes(32), 0, 16)),
        Err(DropReason::Fragment)
    );
}

#[test]
fn an_empty_fragment_is_none() {
    let whole = bytes(32);
    let mut bench = Bench::new(limits());
    for end in [false, true] {
        let at = if end { 32 } else { 16 };
        let empty = piece(1, 1, &whole, at, at);
        assert_eq!(bench.take(&empty), Err(DropReason::MalformedFragment));
    }
    bench.assert_consistent();
    assert_eq!(bench.reassembler.waiting.len(), 0, "nothing begins with it");
}

/// Protects the memory of all senders from one, and each from all together.
#[test]
fn a_datagram_beyond_its_share_is_not_kept_and_the_oldest_goes_when_all_is_used() {
    let whole = bytes(8_000);
    let mut bench = Bench::new(FragmentLimits {
        bytes: 8_000,
        datagrams: 64,
    });
    assert_eq!(bench.take(&piece(1, 1, &whole, 0, 1_000)), Ok(Reassembly::Waits));
    for at in [1_000, 2_000, 4_000] {
        let more = bench.take(&piece(1, 1, &whole, at, at + 1_000));
        assert_eq!(more, Err(DropReason::FragmentBudget), "a quarter is its share");
        bench.assert_consistent();
    }
    for host in 2..10 {
        let first = bench.take(&piece(host, 1, &whole, 0, 1_000));
        assert_eq!(first, Ok(Reassembly::Waits), "host {host}");
        bench.assert_consistent();
    }
    let evicted = bench.drops.get(DropReason::FragmentBudget);
    assert!(evicted > 0, "those that came first made room");
    let kept = |bench: &Bench, host| {
        bench
            .reassembler
            .waiting
            .contains_key(&Key::of(&piece(host, 1, &whole, 0, 8).0))
    };
    assert!(!kept(&bench, 1) && kept(&bench, 9));
}
