use super::*;

const NOW: Instant = Instant::ZERO;

/// A path that bears `bears` is searched from `mss` on; what is found at last,
/// and how many segments were lost for it.
fn search(mss: u16, ceiling: u16, bears: u16) -> (u16, u32) {
    let mut path = PathMtu::new(NOW, ceiling, mss);
    path.start();
    let (mut mss, mut lost, mut at) = (mss, 0, SeqNum(7));
    path.on_full_sent(at + u32::from(mss));
    assert_eq!(
        path.next_try(mss),
        None,
        "not before the present size has arrived"
    );
    at += u32::from(mss);
    path.on_acked(at);
    while let Some(size) = path.next_try(mss) {
        assert!(mss < size && size <= ceiling, "{size} lies above {mss}");
        let end = at + u32::from(size);
        path.on_try_sent(size, at, end);
        assert_eq!(path.next_try(mss), None, "one at a time");
        if size <= bears {
            assert_eq!(path.on_acked(end), Some(size), "it has arrived");
            mss = size;
            path.settle(NOW, mss);
        } else {
            assert!(path.on_lost(NOW, mss, (at, end)), "it was the one that was tried");
            lost += 1;
        }
        at = end;
        assert!(lost < 100, "a search ends");
    }
    (mss, lost)
}

#[test]
fn a_search_comes_near_to_what_the_path_bears_within_few_losses() {
    for bears in (1024..=1460).step_by(4) {
        let (found, lost) = search(1024, 1460, bears);
        assert!(found <= bears, "{found} of {bears}");
        assert!(found + RESOLUTION > bears, "{found} comes near to {bears}");
        assert!(lost <= 6 * u32::from(TRIES), "{lost} losses for {bears}");
    }
    assert_eq!(search(1024, 8960, 8960), (8960, 0), "the largest is tried first");
}

#[test]
fn a_search_that_has_ended_rests_for_ten_minutes() {
    let mut path = PathMtu::new(NOW, 1460, 1300);
    assert_eq!(
        path.rests_until(),
        Some(NOW + RAISE_AFTER),
        "a known path is left alone"
    );
    path.on_lowered(NOW + Duration::from_secs(5));
    assert_eq!(
        path.rests_until(),
        Some(NOW + Duration::from_secs(605)),
        "RFC 1191 section 6.3"
    );
    assert_eq!(
        PathMtu::new(NOW, 1460, 1460).rests_until(),
        None,
        "nothing to find"
    );
}

#[test]
fn a_loss_beside_the_try_is_none_of_its() {
    let mut path = PathMtu::new(NOW, 1460, 1024);
    path.start();
    path.on_full_sent(SeqNum(10));
    path.on_acked(SeqNum(10));
    path.on_try_sent(1460, SeqNum(10), SeqNum(1470));
    assert!(
        !path.on_lost(NOW, 1024, (SeqNum(10), SeqNum(1471))),
        "more than it is lost"
    );
    assert!(
        !path.on_lost(NOW, 1024, (SeqNum(9), SeqNum(1470))),
        "before it as well"
    );
    assert!(path.on_lost(NOW, 1024, (SeqNum(10), SeqNum(1470))), "it alone");
}

#[test]
fn a_router_is_believed_at_once_only_while_nothing_as_large_has_arrived() {
    let seq = SeqNum(10);
    let mut path = PathMtu::new(NOW, 1460, 1460);
    let taken = path.on_router(seq, 1400, 1460);
    assert_eq!(taken, PathMtuVerdict::Taken, "nothing is known");
    let ignored = path.on_router(seq, 1460, 1460);
    assert_eq!(ignored, PathMtuVerdict::Ignored, "what is sent fits that");
    path.on_full_sent(SeqNum(10));
    path.on_acked(SeqNum(10));
    let held = path.on_router(seq, 1400, 1460);
    assert_eq!(held, PathMtuVerdict::Held, "RFC 5927 section 7.2");
    assert_eq!(path.on_timeout(seq), Some(1400), "the data did time out");
    path.on_router(seq, 1400, 1460);
    path.on_acked(SeqNum(11));
    assert_eq!(path.on_timeout(SeqNum(11)), None, "the data did arrive");
}

#[test]
fn black_holes_are_shrunk_step_by_step() {
    for (mss, ipv6, base) in [
        (8960, false, Some(1024)),
        (1460, false, Some(1024)),
        (1024, false, Some(536)),
        (536, false, None),
        (1440, true, Some(1220)),
        (1220, true, None),
    ] {
        assert_eq!(PathMtu::base_below(mss, ipv6), base, "{mss}, IPv6 {ipv6}");
    }
}

#[test]
fn a_router_that_speaks_of_a_try_bounds_the_next_one() {
    for (size, next) in [(1300, Some(1162)), (1460, None), (2000, None), (1030, None)] {
        let mut path = PathMtu::new(NOW, 1460, 1024);
        path.start();
        path.on_full_sent(SeqNum(10));
        path.on_acked(SeqNum(10));
        path.on_try_sent(1460, SeqNum(10), SeqNum(1470));
        let other = path.on_router(SeqNum(11), size, 1024);
        assert_eq!(other, PathMtuVerdict::Ignored, "of something else");
        let verdict = path.on_router(SeqNum(10), size, 1024);
        assert_eq!(verdict, PathMtuVerdict::Ignored, "what is in use fits");
        assert!(
            path.on_lost(NOW, 1024, (SeqNum(10), SeqNum(1470))),
            "it was a try"
        );
        if size >= 1460 {
            assert_eq!(path.next_try(1024), Some(1460), "{size}: once more");
        } else {
            assert_eq!(path.next_try(1024), next, "{size}");
        }
    }
}
