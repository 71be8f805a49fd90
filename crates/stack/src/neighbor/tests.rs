use super::*;

fn cache(capacity: u32) -> NeighborCache {
    NeighborCache::new(capacity, Duration::from_secs(30), [3; 16])
}

fn addr(last: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 + last).into())
}

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

#[test]
fn an_unknown_neighbour_is_asked_for_three_times_and_then_given_up() {
    let mut cache = cache(8);
    let (mut wake, mut hint) = (Wakeups::default(), None);
    assert_eq!(
        cache.resolve(Instant::ZERO, addr(1), &mut hint),
        Resolution::Pending,
        "unknown"
    );
    cache.wait(hint, 7);
    for second in 0..3 {
        let now = Instant::from_millis(second * 1000);
        let asked = cache.poll_solicitation(now, &mut wake);
        assert_eq!(
            asked,
            Some(Solicitation {
                target: addr(1),
                unicast: None
            }),
            "second {second}"
        );
        assert_eq!(cache.poll_solicitation(now, &mut wake), None, "once a second");
    }
    assert_eq!(
        cache.poll_solicitation(Instant::from_millis(3000), &mut wake),
        None,
        "no fourth"
    );
    assert_eq!(wake.unreachable, [(addr(1), 7)], "who waited is told");
    let now = Instant::from_millis(3100);
    assert_eq!(
        cache.resolve(now, addr(1), &mut hint),
        Resolution::Unreachable,
        "remembered for a while"
    );
    assert_eq!(cache.next_timeout(), None, "nothing is being asked for");
}

#[test]
fn an_answer_wakes_those_who_wait_and_age_brings_a_unicast_probe() {
    let mut cache = cache(8);
    let (mut wake, mut hint) = (Wakeups::default(), None);
    cache.resolve(Instant::ZERO, addr(1), &mut hint);
    cache.wait(hint, 4);
    cache.learn(Instant::from_millis(5), addr(1), MAC, false, &mut wake);
    assert_eq!(wake.resolved, [4], "woken");
    let late = Instant::from_millis(40_000);
    assert_eq!(
        cache.resolve(late, addr(1), &mut hint),
        Resolution::Known(MAC),
        "stale, but used"
    );
    let probe = cache.poll_solicitation(late, &mut wake);
    assert_eq!(
        probe,
        Some(Solicitation {
            target: addr(1),
            unicast: Some(MAC)
        }),
        "asked by unicast"
    );
    cache.confirm(late, hint);
    assert_eq!(
        cache.poll_solicitation(Instant::from_millis(42_000), &mut wake),
        None,
        "progress is proof"
    );
}

#[test]
fn one_that_was_given_up_is_asked_for_again_later_and_one_that_is_probed_stays_in_use() {
    let mut cache = cache(8);
    let (mut wake, mut hint) = (Wakeups::default(), None);
    cache.resolve(Instant::ZERO, addr(1), &mut hint);
    for second in 0..4 {
        cache.poll_solicitation(Instant::from_millis(second * 1000), &mut wake);
    }
    let later = Instant::from_millis(4500);
    assert_eq!(cache.resolve(later, addr(1), &mut hint), Resolution::Pending);
    cache.wait(hint, 7);
    let asked = cache.poll_solicitation(later, &mut wake);
    assert_eq!(asked.map(|s| s.target), Some(addr(1)), "asked anew");
    cache.learn(later, addr(1), MAC, false, &mut wake);
    assert_eq!(wake.resolved, [7], "and it is there by now");
    let old = later + Duration::from_secs(31);
    for _ in 0..2 {
        let known = cache.resolve(old, addr(1), &mut hint);
        assert_eq!(known, Resolution::Known(MAC), "before and after it is asked");
        cache.poll_solicitation(old, &mut wake);
    }
}

/// Protects connections from waiting for an answer to what nobody asks.
#[test]
fn when_too_many_are_asked_for_no_other_is_waited_for() {
    let mut cache = cache(2 * PENDING_MAX as u32);
    let (mut wake, mut known, mut failed) = (Wakeups::default(), None, None);
    cache.resolve(Instant::ZERO, addr(1), &mut known);
    cache.learn(Instant::ZERO, addr(1), MAC, false, &mut wake);
    cache.resolve(Instant::ZERO, addr(2), &mut failed);
    for second in 0..4 {
        cache.poll_solicitation(Instant::from_millis(second * 1000), &mut wake);
    }
    let now = Instant::from_millis(40_000);
    for i in 0..PENDING_MAX as u32 {
        let asked = cache.resolve(now, addr(100 + i), &mut None);
        assert_eq!(asked, Resolution::Pending, "{i}");
    }
    let unknown = cache.resolve(now, addr(3), &mut None);
    assert_eq!(unknown, Resolution::Unreachable, "no room to ask");
    let again = cache.resolve(now, addr(2), &mut failed);
    assert_eq!(again, Resolution::Unreachable, "given up before, and no room");
    let stale = cache.resolve(now, addr(1), &mut known);
    assert_eq!(stale, Resolution::Known(MAC), "used, if not probed");
    cache.learn(now, addr(4), MAC, true, &mut wake);
    assert_eq!(cache.known(addr(4)), None, "nor for one who asks");
}

#[test]
fn a_cache_full_of_those_in_use_takes_no_other() {
    let mut cache = cache(2);
    for i in 0..2 {
        cache.resolve(Instant::ZERO, addr(i), &mut None);
    }
    let third = cache.resolve(Instant::ZERO, addr(3), &mut None);
    assert_eq!(third, Resolution::Unreachable);
    assert_eq!(cache.known(addr(0)), None, "nobody has answered");
}

#[test]
fn nobody_who_was_not_asked_for_gets_an_entry_and_the_cache_is_bounded() {
    let mut cache = cache(4);
    let mut wake = Wakeups::default();
    cache.learn(Instant::ZERO, addr(1), MAC, false, &mut wake);
    assert!(cache.index.is_empty(), "unasked for");
    for i in 0..100 {
        cache.learn(
            Instant::from_millis(u64::from(i) * 10_000),
            addr(i),
            MAC,
            true,
            &mut wake,
        );
        assert!(
            cache.entries.len() <= 4 && cache.index.len() == cache.entries.len(),
            "bounded"
        );
    }
}
