use super::*;

/// An IPv6 packet whose header names `first`, followed by `rest`.
fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(rest.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[first, 64]);
    packet.extend_from_slice(&[0; 32]);
    packet.extend_from_slice(rest);
    packet
}

fn upper(protocol: u8, at: usize, named_at: usize) -> Walked {
    Walked::Upper(Upper {
        protocol,
        at,
        named_at,
    })
}

fn problem(code: u8, pointer: u16) -> Walked {
    Walked::Problem(HeaderProblem { code, pointer })
}

#[test]
fn each_header_is_treated_as_rfc_8200_says() {
    const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let cases: &[(&str, u8, Vec<u8>, Walked)] = &[
        ("no extension header", 6, vec![0; 20], upper(6, 40, 6)),
        (
            "hop-by-hop options behind the IPv6 header",
            0,
            [&[6, 0][..], &PAD].concat(),
            upper(6, 48, 6 + 34),
        ),
        (
            "hop-by-hop options elsewhere",
            60,
            [&[0, 0][..], &PAD, &[6, 0], &PAD].concat(),
            problem(1, 40),
        ),
        (
            "hop-by-hop options twice",
            0,
            [&[0, 0][..], &PAD, &[6, 0], &PAD].concat(),
            problem(1, 40),
        ),
        (
            "an unknown routing header with nothing left",
            43,
            vec![6, 0, 99, 0, 0, 0, 0, 0],
            upper(6, 48, 40),
        ),
        (
            "an unknown routing header with a segment left",
            43,
            vec![6, 0, 99, 1, 0, 0, 0, 0],
            problem(0, 42),
        ),
        (
            "routing header type 0",
            43,
            vec![6, 0, 0, 1, 0, 0, 0, 0],
            problem(0, 42),
        ),
        (
            "an atomic fragment",
            44,
            vec![6, 0, 0, 0, 1, 2, 3, 4],
            upper(6, 48, 40),
        ),
        (
            "a fragment with more behind it",
            44,
            vec![6, 0, 0, 1, 1, 2, 3, 4],
            Walked::Fragment { at: 40, named_at: 6 },
        ),
        (
            "a fragment further on",
            60,
            [&[44, 0][..], &PAD, &[6, 0, 0, 8, 1, 2, 3, 4]].concat(),
            Walked::Fragment { at: 48, named_at: 40 },
        ),
        (
            "an unknown option to be passed over",
            60,
            vec![6, 0, 0x3e, 4, 1, 2, 3, 4],
            upper(6, 48, 40),
        ),
        (
            "an unknown option to be silent about",
            60,
            vec![6, 0, 0x7e, 4, 1, 2, 3, 4],
            Walked::Discard,
        ),
        (
            "an unknown option to be told of",
            60,
            vec![6, 0, 0, 0xbe, 3, 1, 2, 3],
            problem(2, 43),
        ),
        (
            "an unknown option to be told of unless to a group",
            60,
            vec![6, 0, 0xfe, 4, 1, 2, 3, 4],
            problem(2, 42),
        ),
        (
            "an option that reaches beyond its header",
            60,
            vec![6, 0, 1, 5, 0, 0, 0, 0],
            problem(0, 43),
        ),
        (
            "an option without a length",
            60,
            vec![6, 0, 0, 0, 0, 0, 0, 5],
            problem(0, 47),
        ),
        (
            "a header cut off",
            60,
            vec![6, 1, 1, 4, 0, 0, 0, 0],
            Walked::CutOff,
        ),
        ("nothing where a header is named", 60, vec![], Walked::CutOff),
    ];
    for (what, first, rest, expected) in cases {
        assert_eq!(walk(&packet(*first, rest), false), *expected, "{what}");
    }
    let to_group = walk(&packet(60, &[6, 0, 0xfe, 4, 1, 2, 3, 4]), true);
    assert_eq!(to_group, Walked::Discard, "a group's members stay silent");
}

#[test]
fn long_chains_long_headers_and_many_options_are_given_up() {
    let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(MAX_EXTENSION_HEADERS + 1);
    assert_eq!(
        walk(&packet(60, &chain), false),
        Walked::TooMany,
        "too many headers"
    );
    let mut long = vec![6, 255];
    long.extend(core::iter::repeat_n(0, 254 + 255 * 8 - 254 + 6));
    assert_eq!(
        walk(&packet(60, &long), false),
        Walked::TooMany,
        "too long a header"
    );
    let mut many = vec![6, 3];
    many.extend([0x3e, 0].repeat(15));
    assert_eq!(
        walk(&packet(60, &many), false),
        Walked::TooMany,
        "too many options"
    );
}

#[test]
fn a_first_fragment_holds_all_headers() {
    let first = |protocol: u8, rest: &[u8]| {
        let packet = packet(44, &[&[protocol, 0, 0, 1, 0, 0, 0, 1], rest].concat());
        let upper = Upper {
            protocol,
            at: 48,
            named_at: 40,
        };
        holds_whole_chain(&packet, upper)
    };
    assert!(first(6, &[0; 24]), "a TCP header");
    assert!(!first(6, &[0; 16]), "not all of a TCP header");
    assert!(!first(60, &[6, 1, 1, 4, 0, 0, 0, 0]), "an option header cut off");
    assert!(
        !first(60, &[6, 0, 1, 4, 0, 0, 0, 0]),
        "the TCP header is in the next fragment"
    );
}
