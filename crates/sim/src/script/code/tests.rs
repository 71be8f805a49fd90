use super::{Judgement, judge};

fn lookup(name: &str) -> Option<i64> {
    match name {
        "tcpi_snd_cwnd" => Some(10),
        "tcpi_rto" => Some(200_000),
        "tcpi_options" => Some(0b0111),
        _ => None,
    }
}

fn judged(code: &str) -> Judgement {
    judge(code, &lookup)
}

#[test]
fn what_scripts_assert_is_evaluated() {
    for holds in [
        "assert tcpi_snd_cwnd == 10",
        "assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd",
        "assert tcpi_snd_cwnd == 10, 'cwnd=%d' % tcpi_snd_cwnd",
        "assert (tcpi_snd_cwnd == 10 and tcpi_rto >= 200*1000)",
        "assert 9 < tcpi_snd_cwnd <= 10",
        "assert tcpi_snd_cwnd in [9, 10]",
        "assert tcpi_snd_cwnd not in (8, 9)",
        "assert not tcpi_snd_cwnd == 11 or tcpi_rto == 0",
        "assert (tcpi_options & 4) == 4",
        "assert tcpi_options == (1 | 2 | 4)",
        "assert abs(tcpi_rto - 210000) < 20000, tcpi_rto",
        "assert max(tcpi_snd_cwnd, 3) == 10 and len([1,2]) == 2",
        "# only words\nassert tcpi_rto // 3 == 66666; assert -1 < 0\nprint(tcpi_rto)",
        "assert (tcpi_snd_cwnd ==\n 10)",
        "assert True",
        "",
    ] {
        assert_eq!(judged(holds), Judgement::Holds, "{holds}");
    }
}

#[test]
fn a_false_assertion_is_shown_with_its_values() {
    assert_eq!(
        judged("assert tcpi_rto == 200000\nassert tcpi_snd_cwnd == 11, tcpi_snd_cwnd"),
        Judgement::Fails("assert tcpi_snd_cwnd == 11, tcpi_snd_cwnd (tcpi_snd_cwnd is 10)".to_owned())
    );
    for fails in [
        "assert tcpi_snd_cwnd < 10",
        "assert tcpi_snd_cwnd != 10",
        "assert 1 < tcpi_snd_cwnd < 10",
        "assert tcpi_snd_cwnd in []",
        "assert not 1",
        "assert 0 or False",
        "assert 1 and 0",
    ] {
        assert!(matches!(judged(fails), Judgement::Fails(_)), "{fails}");
    }
}

#[test]
fn what_cannot_be_judged_never_holds() {
    for unknown in [
        "import os",
        "assert tcpi_something == 1",
        "assert tcpi_snd_cwnd ~ 1",
        "assert tcpi_rto / 3 == 66666",
        "assert 1 // 0 == 0",
        "assert 1 << 70 == 0",
        "assert foo(1)",
        "assert [1] < [2]",
        "assert 1 +",
        "assert (1",
        "assert 99999999999999999999 == 0",
        "x = 1",
    ] {
        assert!(matches!(judged(unknown), Judgement::Unknown(_)), "{unknown}");
    }
    let deep = format!("assert {}1{}", "(".repeat(1000), ")".repeat(1000));
    assert!(
        matches!(judged(&deep), Judgement::Unknown(_)),
        "too deep to follow"
    );
}
