use core::net::IpAddr;
use std::rc::Rc;

use crore_base::Duration;
use crore_netbuf::Chunk;
use crore_wire::{Flags, TcpOptions, Timestamps};
use proptest::prelude::*;

use super::*;
use crate::{Disposition, EcnPolicy, Event, State};

const SLOT: Duration = Duration::from_nanos(1 << SLOT_SHIFT);
const PATH: Path = Path::ipv4(1500);

fn cookies() -> SynCookies {
    SynCookies::new([7; 16])
}

fn tuple(remote_port: u16) -> FourTuple {
    FourTuple {
        local_addr: IpAddr::from([10, 0, 0, 1]),
        local_port: 80,
        remote_addr: IpAddr::from([10, 0, 0, 2]),
        remote_port,
    }
}

fn syn(mss: Option<u16>, scale: Option<u8>, sack_permitted: bool, clock: Option<u32>) -> Segment {
    Segment {
        seq: SeqNum(0xffff_ffff),
        flags: Flags::SYN,
        window: 4000,
        options: TcpOptions {
            mss,
            window_scale: scale.map(WindowScale::new),
            sack_permitted,
            timestamps: clock.map(|value| Timestamps { value, echo: 0 }),
            ..TcpOptions::default()
        },
        ..Segment::default()
    }
}

/// What the peer answers to `syn_ack`, a little later by its own clock.
fn answer(syn_ack: &Segment) -> Segment {
    Segment {
        seq: syn_ack.ack,
        ack: syn_ack.seq + 1,
        flags: Flags::ACK,
        window: 5000,
        options: TcpOptions {
            timestamps: syn_ack.options.timestamps.map(|ours| Timestamps {
                value: ours.echo.wrapping_add(3),
                echo: ours.value,
            }),
            ..TcpOptions::default()
        },
        ..Segment::default()
    }
}

fn exchange(syn: &Segment, began: Instant, ended: Instant) -> (Segment, Option<HalfOpen>) {
    let config = Config::default();
    let half = cookies().begin(&config, began, &tuple(1000), PATH, syn);
    let syn_ack = half.syn_ack(&config, began, 0xffff_0000, PATH);
    let completed = cookies().complete(&config, ended, &tuple(1000), &answer(&syn_ack), 5);
    (syn_ack, completed)
}

#[test]
fn a_cookie_keeps_what_the_syn_said() {
    let began = Instant::from_millis(12_345);
    let syn = syn(Some(1460), Some(9), true, Some(77));
    let (syn_ack, half) = exchange(&syn, began, began + Duration::from_millis(30));
    assert_eq!(syn_ack.ack, SeqNum(0), "the SYN is acknowledged, across the wrap");
    assert!(
        syn_ack.options.sack_permitted && syn_ack.options.window_scale.is_some(),
        "all is offered"
    );
    let half = half.expect("it is recognised");
    assert_eq!((half.iss(), half.irs(), half.tag()), (syn_ack.seq, syn.seq, 5));
    let config = Rc::new(Config::default());
    let now = began + Duration::from_millis(30);
    let mut connection = half.wake(&config, now, 0xffff_0000, PATH);
    let taken = connection.on_segment(now, &answer(&syn_ack), Chunk::empty());
    assert_eq!(taken, Disposition::Accepted, "the acknowledgment fits");
    assert_eq!(connection.poll_event(), Some(Event::Connected));
    assert_eq!(connection.state(), State::Established);
    connection.assert_invariants();
    let stats = connection.stats();
    assert_eq!(stats.mss, 1460 - 12, "MSS, and timestamps in each segment");
    assert_eq!(stats.send_window, 5000 << 9, "the window is scaled");
    assert!(connection.sack && connection.ts.enabled, "both are used");
    let srtt = stats.srtt.expect("the echo measures the round trip").as_millis();
    assert!(
        (30..62).contains(&srtt),
        "never too short, at most 32 ms too long: {srtt}"
    );
}

#[test]
fn without_timestamps_the_mss_alone_is_kept_and_nothing_else_is_promised() {
    let now = Instant::from_millis(5);
    let (syn_ack, half) = exchange(&syn(Some(1400), Some(9), true, None), now, now);
    assert_eq!(
        (syn_ack.options.window_scale, syn_ack.options.sack_permitted),
        (None, false),
        "what can't be remembered is not offered"
    );
    let config = Rc::new(Config::default());
    let mut connection = half.expect("it is recognised").wake(&config, now, 0, PATH);
    connection.on_segment(now, &answer(&syn_ack), Chunk::empty());
    let stats = connection.stats();
    assert_eq!(
        (stats.mss, stats.send_window),
        (1400, 5000),
        "the window is as it stands"
    );
    assert_eq!(stats.srtt, None, "nothing tells when the SYN-ACK was sent");
}

#[test]
fn a_cookie_is_good_for_one_to_two_slots() {
    let syn = syn(Some(1460), Some(7), true, Some(1));
    for began in [
        Instant::ZERO + SLOT,
        Instant::ZERO + SLOT.saturating_mul(2) - Duration::from_nanos(1),
    ] {
        for (after, good) in [
            (Duration::ZERO, true),
            (SLOT, true),
            (SLOT.saturating_mul(2), false),
            (SLOT.saturating_mul(3), false),
            (SLOT.saturating_mul(4), false),
        ] {
            let (_, half) = exchange(&syn, began, began + after);
            assert_eq!(half.is_some(), good, "{after:?} after {began:?}");
            assert_eq!(SynCookies::may_be_good(began, began + after), good, "{after:?}");
        }
    }
    assert!(
        exchange(&syn, Instant::ZERO, Instant::ZERO).1.is_some(),
        "the first slot has none before it, and works"
    );
}

#[test]
fn a_cookie_is_good_for_its_own_tuple_syn_options_and_key_only() {
    let (config, now) = (Config::default(), Instant::from_millis(1));
    let syn = syn(Some(1460), Some(7), true, Some(1));
    let half = cookies().begin(&config, now, &tuple(1000), PATH, &syn);
    let good = answer(&half.syn_ack(&config, now, 0, PATH));
    let complete = |tuple, ack: &Segment| cookies().complete(&config, now, &tuple, ack, 0);
    assert!(complete(tuple(1000), &good).is_some(), "as it is");
    assert!(complete(tuple(1001), &good).is_none(), "another port");
    let mut other = tuple(1000);
    other.remote_addr = IpAddr::from([10, 0, 0, 3]);
    assert!(complete(other, &good).is_none(), "another peer");
    let mapped = FourTuple {
        local_addr: "::ffff:10.0.0.1".parse().unwrap(),
        remote_addr: "::ffff:10.0.0.2".parse().unwrap(),
        ..tuple(1000)
    };
    assert!(
        complete(mapped, &good).is_none(),
        "the same bytes of another family"
    );
    let mut bad = good;
    bad.seq += 1;
    assert!(complete(tuple(1000), &bad).is_none(), "another SYN");
    let mut bad = good;
    bad.options.timestamps.as_mut().unwrap().echo ^= SACK_BIT;
    assert!(
        complete(tuple(1000), &bad).is_none(),
        "options are vouched for too"
    );
    let mut bad = good;
    bad.options.timestamps = None;
    assert!(complete(tuple(1000), &bad).is_none(), "timestamps were promised");
    let stranger = SynCookies::new([8; 16]);
    assert!(
        stranger.complete(&config, now, &tuple(1000), &good, 0).is_none(),
        "another key"
    );
}

#[test]
fn of_a_million_guesses_hardly_any_is_good() {
    let (config, now) = (Config::default(), Instant::from_millis(1));
    let mut ack = answer(&syn(None, None, false, None));
    let mut state = 1u32;
    let passed = (0..1_000_000)
        .filter(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ack.ack = SeqNum(state);
            cookies().complete(&config, now, &tuple(1000), &ack, 0).is_some()
        })
        .count();
    assert!(passed <= 1, "{passed} passed, of an expected 1 in 268 million");
}

#[test]
fn a_named_mss_is_rounded_down_and_never_below_the_floor() {
    let now = Instant::from_millis(1);
    let config = Rc::new(Config::default());
    let path = Path::ipv4(9000);
    for (named, kept) in [
        (None, 536),
        (Some(0), 536),
        (Some(1), 64),
        (Some(535), 64),
        (Some(536), 536),
        (Some(1452), 1440),
        (Some(1460), 1460),
        (Some(8960), 8940),
        (Some(u16::MAX), 8940),
    ] {
        let half = cookies().begin(&config, now, &tuple(1000), path, &syn(named, None, false, None));
        let ack = answer(&half.syn_ack(&config, now, 0, path));
        let half = cookies()
            .complete(&config, now, &tuple(1000), &ack, 0)
            .expect("good");
        let stats = half.wake(&config, now, 0, path).stats();
        assert_eq!(stats.mss, kept, "{named:?}");
    }
}

proptest! {
    /// Protects every combination of options against being lost or invented.
    #[test]
    fn every_cookie_comes_back_as_it_went(
        mss in proptest::option::of(any::<u16>()),
        scale in proptest::option::of(0u8..15),
        sack in any::<bool>(),
        clock in proptest::option::of(any::<u32>()),
        millis in 0u64..1 << 40,
        later in 0u64..68_000,
        key in any::<[u8; 16]>(),
        offset in any::<u32>(),
    ) {
        let config = Config::default();
        let cookies = SynCookies::new(key);
        let now = Instant::from_millis(millis);
        let syn = syn(mss, scale, sack, clock);
        let half = cookies.begin(&config, now, &tuple(9), PATH, &syn);
        let syn_ack = half.syn_ack(&config, now, offset, PATH);
        let ended = now + Duration::from_millis(later);
        let kept = cookies.complete(&config, ended, &tuple(9), &answer(&syn_ack), 0);
        let kept = kept.expect("a cookie of this slot or the one before");
        prop_assert_eq!(kept.irs(), syn.seq);
        let said = clock.map(|_| CookieOptions { scale: scale.map(WindowScale::new), sack });
        prop_assert_eq!(kept.cookie_options(), said, "all with timestamps, nothing without");
    }

    /// Protects the peer's PAWS: it must never see our timestamps go back.
    #[test]
    fn the_timestamp_never_goes_back_and_is_never_ahead(
        clock in any::<u32>(),
        later in 0u32..1000,
        bits in 0u32..32,
    ) {
        let options = CookieOptions::read(bits);
        let (first, second) = (options.ride_on(clock), options.ride_on(clock.wrapping_add(later)));
        prop_assert!(clock.wrapping_sub(first) < 32, "at most 31 ms behind");
        prop_assert!(second.wrapping_sub(first) <= later + 31, "forward, or where it was");
        prop_assert_eq!(CookieOptions::read(first), options);
    }
}

#[test]
fn accurate_ecn_shows_by_the_flags_of_the_acknowledgment_and_rfc_3168s_is_given_up() {
    let config = Config {
        ecn: EcnPolicy::AccuratePassive,
        ..Config::default()
    };
    let now = Instant::from_millis(12_345);
    let all = Flags::AE | Flags::CWR | Flags::ECE;
    for (asked, agreed, ended, mode) in [
        (all, Flags::CWR, Flags::CWR, EcnMode::Accurate),
        (all, Flags::CWR, Flags::AE | Flags::ECE, EcnMode::Accurate),
        (all, Flags::CWR, Flags::NONE, EcnMode::Off),
        (Flags::CWR | Flags::ECE, Flags::NONE, Flags::NONE, EcnMode::Off),
        (Flags::NONE, Flags::NONE, Flags::ECE, EcnMode::Off),
    ] {
        let mut syn = syn(Some(1460), None, true, Some(77));
        syn.flags |= asked;
        let half = cookies().begin(&config, now, &tuple(1000), PATH, &syn);
        let syn_ack = half.syn_ack(&config, now, 0, PATH);
        assert_eq!(
            syn_ack.flags.without(Flags::SYN | Flags::ACK),
            agreed,
            "{asked:?}"
        );
        let mut ack = answer(&syn_ack);
        ack.flags |= ended;
        let half = cookies().complete(&config, now, &tuple(1000), &ack, 5);
        assert_eq!(half.expect("it is good").ecn(), mode, "{asked:?} {ended:?}");
    }
}
