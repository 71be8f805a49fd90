//! TCP options between notation and bytes.
//!
//! Written byte for byte in the order of the script, so that odd and broken
//! orders can be put in, and read the same way, so that an order can be expected.

use core::fmt;

use super::ast::{Cookie, TcpOptionSpec};

// Kinds (IANA, TCP Option Kind Numbers).
const EOL: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const MD5: u8 = 19;
const FAST_OPEN: u8 = 34;
const ACC_ECN_ECT0_FIRST: u8 = 172;
const ACC_ECN_ECT1_FIRST: u8 = 174;
const EXPERIMENT: u8 = 254;
/// What marks Fast Open among the experiments (RFC 6994, RFC 7413 appendix A).
const FAST_OPEN_MAGIC: [u8; 2] = [0xf9, 0x89];

impl TcpOptionSpec {
    /// How many bytes it takes in a header.
    pub fn encoded_len(&self) -> usize {
        2 + match self {
            Self::Nop | Self::Eol => return 1,
            Self::Mss(_) => 2,
            Self::WindowScale(_) => 1,
            Self::SackPermitted => 0,
            Self::Sack(blocks) => 8 * blocks.len(),
            Self::Timestamps(..) => 8,
            Self::FastOpen { experimental, cookie } => 2 * usize::from(*experimental) + cookie.len(),
            Self::Md5(bytes) | Self::Unknown(_, bytes) => bytes.len(),
            Self::AccEcn { counters, .. } => 3 * counters.len(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let length = self.encoded_len() as u8;
        match self {
            Self::Nop => out.push(NOP),
            Self::Eol => out.push(EOL),
            Self::Mss(mss) => {
                out.extend([MSS, length]);
                out.extend(mss.unwrap_or_default().to_be_bytes());
            }
            Self::WindowScale(shift) => out.extend([WINDOW_SCALE, length, shift.unwrap_or_default()]),
            Self::SackPermitted => out.extend([SACK_PERMITTED, length]),
            Self::Sack(blocks) => {
                out.extend([SACK, length]);
                for (left, right) in blocks {
                    out.extend(left.to_be_bytes());
                    out.extend(right.to_be_bytes());
                }
            }
            Self::Timestamps(value, echo) => {
                out.extend([TIMESTAMPS, length]);
                out.extend(value.unwrap_or_default().to_be_bytes());
                out.extend(echo.unwrap_or_default().to_be_bytes());
            }
            Self::FastOpen { experimental, cookie } => {
                if *experimental {
                    out.extend([EXPERIMENT, length]);
                    out.extend(FAST_OPEN_MAGIC);
                } else {
                    out.extend([FAST_OPEN, length]);
                }
                match cookie {
                    Cookie::Bytes(bytes) => out.extend(bytes),
                    // The flow puts its own in before anything is written.
                    Cookie::Own => out.resize(out.len() + cookie.len(), 0),
                }
            }
            Self::Md5(digest) => {
                out.extend([MD5, length]);
                out.extend(digest);
            }
            Self::AccEcn { ect1_first, counters } => {
                let kind = if *ect1_first {
                    ACC_ECN_ECT1_FIRST
                } else {
                    ACC_ECN_ECT0_FIRST
                };
                out.extend([kind, length]);
                for counter in counters {
                    out.extend(&counter.to_be_bytes()[1..]);
                }
            }
            Self::Unknown(kind, body) => {
                out.extend([*kind, length]);
                out.extend(body);
            }
        }
    }

    fn read(kind: u8, body: &[u8]) -> Self {
        let unknown = || Self::Unknown(kind, body.to_vec());
        match (kind, body) {
            (MSS, &[high, low]) => Self::Mss(Some(u16::from_be_bytes([high, low]))),
            (WINDOW_SCALE, &[shift]) => Self::WindowScale(Some(shift)),
            (SACK_PERMITTED, []) => Self::SackPermitted,
            (SACK, blocks) if blocks.len().is_multiple_of(8) => {
                let (blocks, _) = blocks.as_chunks::<8>();
                Self::Sack(blocks.iter().map(halves).collect())
            }
            (TIMESTAMPS, body) => match body.as_array::<8>() {
                Some(body) => {
                    let (value, echo) = halves(body);
                    Self::Timestamps(Some(value), Some(echo))
                }
                None => unknown(),
            },
            (MD5, digest) => Self::Md5(digest.to_vec()),
            (FAST_OPEN, cookie) => Self::FastOpen {
                experimental: false,
                cookie: Cookie::Bytes(cookie.to_vec()),
            },
            (EXPERIMENT, body) => match body.strip_prefix(&FAST_OPEN_MAGIC) {
                Some(cookie) => Self::FastOpen {
                    experimental: true,
                    cookie: Cookie::Bytes(cookie.to_vec()),
                },
                None => unknown(),
            },
            (ACC_ECN_ECT0_FIRST | ACC_ECN_ECT1_FIRST, body) if body.len().is_multiple_of(3) => Self::AccEcn {
                ect1_first: kind == ACC_ECN_ECT1_FIRST,
                counters: body
                    .as_chunks::<3>()
                    .0
                    .iter()
                    .map(|&[a, b, c]| u32::from_be_bytes([0, a, b, c]))
                    .collect(),
            },
            _ => unknown(),
        }
    }
}

fn halves(bytes: &[u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *bytes;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// The options as they stand in a header, filled up to a multiple of four with the end of the list.
pub(super) fn encode(options: &[TcpOptionSpec]) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    for option in options {
        option.write(&mut out);
    }
    out.resize(out.len().next_multiple_of(4), EOL);
    out
}

/// What stands in a header, to the last byte.
pub(super) fn decode(mut bytes: &[u8]) -> Vec<TcpOptionSpec> {
    let mut options = Vec::new();
    while let Some((&kind, rest)) = bytes.split_first() {
        let option = match kind {
            EOL => TcpOptionSpec::Eol,
            NOP => TcpOptionSpec::Nop,
            _ => {
                let body = rest.split_first().and_then(|(&len, rest)| {
                    let len = usize::from(len).checked_sub(2)?;
                    rest.split_at_checked(len)
                });
                let Some((body, after)) = body else {
                    options.push(TcpOptionSpec::Unknown(kind, rest.to_vec()));
                    return options;
                };
                options.push(TcpOptionSpec::read(kind, body));
                bytes = after;
                continue;
            }
        };
        options.push(option);
        bytes = rest;
    }
    options
}

/// Whether what was seen is what was expected; padding at the end need not be written.
pub(super) fn match_options(expected: &[TcpOptionSpec], seen: &[TcpOptionSpec]) -> bool {
    let used = |options: &[TcpOptionSpec]| options.iter().map(TcpOptionSpec::encoded_len).sum::<usize>();
    let padded = used(expected).next_multiple_of(4) - used(expected);
    let (head, tail) = seen.split_at(expected.len().min(seen.len()));
    head.len() == expected.len()
        && expected.iter().zip(head).all(|(a, b)| match_option(a, b))
        && tail.len() == padded
        && tail.iter().all(|option| *option == TcpOptionSpec::Eol)
}

fn match_option(expected: &TcpOptionSpec, seen: &TcpOptionSpec) -> bool {
    use TcpOptionSpec::{Mss, Timestamps, WindowScale};
    match (expected, seen) {
        (Mss(None), Mss(_)) | (WindowScale(None), WindowScale(_)) => true,
        (Timestamps(value, echo), Timestamps(seen_value, seen_echo)) => {
            value.is_none_or(|value| Some(value) == *seen_value)
                && echo.is_none_or(|echo| Some(echo) == *seen_echo)
        }
        _ => expected == seen,
    }
}

impl fmt::Display for TcpOptionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nop => f.write_str("nop"),
            Self::Eol => f.write_str("eol"),
            Self::Mss(mss) => write!(f, "mss {}", Any(*mss)),
            Self::WindowScale(shift) => write!(f, "wscale {}", Any(*shift)),
            Self::SackPermitted => f.write_str("sackOK"),
            Self::Sack(blocks) => {
                f.write_str("sack")?;
                blocks
                    .iter()
                    .try_for_each(|(left, right)| write!(f, " {left}:{right}"))
            }
            Self::Timestamps(value, echo) => write!(f, "TS val {} ecr {}", Any(*value), Any(*echo)),
            Self::FastOpen { experimental, cookie } => {
                f.write_str(if *experimental { "FOEXP" } else { "FO" })?;
                match cookie {
                    Cookie::Bytes(bytes) => hex(f, bytes),
                    Cookie::Own => f.write_str(" TFO_COOKIE"),
                }
            }
            Self::Md5(digest) => {
                f.write_str("md5")?;
                hex(f, digest)
            }
            Self::AccEcn { ect1_first, counters } => {
                let names = if *ect1_first {
                    ["e1b", "ceb", "e0b"]
                } else {
                    ["e0b", "ceb", "e1b"]
                };
                f.write_str("ECN")?;
                names
                    .iter()
                    .zip(counters)
                    .try_for_each(|(name, counter)| write!(f, " {name} {counter}"))
            }
            Self::Unknown(kind, body) => {
                write!(f, "kind {kind}")?;
                hex(f, body)
            }
        }
    }
}

/// A number, or `...` for any.
struct Any<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Any<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("..."),
        }
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    if !bytes.is_empty() {
        f.write_str(" ")?;
    }
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
