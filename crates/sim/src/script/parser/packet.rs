//! Packets: `> P. 1:1001(1000) ack 1 win 229 <nop,nop,TS val 2 ecr 1>`.

use super::super::ast::{
    AckSpec, Body, Cookie, Direction, EcnSpec, IcmpSpec, IpSpec, PacketSpec, TcpFlags, TcpOptionSpec, TcpSpec,
};
use super::super::cursor::{Cursor, Parsed};

/// The most bytes that fit into a TCP header's options.
const OPTIONS_MAX: usize = 40;

/// What stands where control bits might and is no TCP.
const FOREIGN: [&str; 8] = ["udp", "udplite", "sctp", "gre", "GREv0", "mpls", "ipv4", "ipv6"];

pub(super) fn packet(cursor: &mut Cursor<'_>) -> Parsed<PacketSpec> {
    let direction = if cursor.eat("<")? {
        Direction::Inbound
    } else {
        cursor.want(">")?;
        Direction::Outbound
    };
    let ahead = echoed_ahead(cursor)?;
    let ip = ip(cursor)?;
    let ports = ports(cursor)?;
    let word = cursor.peek_word()?;
    let body = if word == "icmp" || ahead.is_some() {
        let mut icmp = icmp(cursor)?;
        icmp.echoed = icmp.echoed.or(ahead);
        Body::Icmp(icmp)
    } else if FOREIGN.contains(&word) {
        cursor.rest_of_line();
        Body::Foreign(word.to_owned())
    } else {
        tcp(cursor)?
    };
    if let (Body::Tcp(tcp), Direction::Inbound) = (&body, direction) {
        let any = tcp
            .options
            .as_ref()
            .is_none_or(|options| options.iter().any(is_any));
        if any || tcp.seq.is_none() || tcp.ack == AckSpec::Any {
            return cursor.error("`...` stands for any value, which a packet that is put in cannot have");
        }
        if matches!(ip.ecn, Some(EcnSpec::Capable)) {
            return cursor.error("[ect01] can only be expected, not put in");
        }
    }
    Ok(PacketSpec {
        direction,
        ip,
        ports,
        body,
    })
}

/// FreeBSD's dialect has the segment that an ICMP message answers before it:
/// `[1:1461(1460)] icmp unreachable port_unreachable`.
fn echoed_ahead(cursor: &mut Cursor<'_>) -> Parsed<Option<(u32, u32)>> {
    let mut ahead = cursor.clone();
    if !ahead.eat("[")?
        || !ahead
            .rest()
            .trim_start()
            .starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(None);
    }
    let (start, len) = range(&mut ahead)?;
    ahead.want("]")?;
    *cursor = ahead;
    Ok(start.map(|start| (start, len)))
}

fn is_any(option: &TcpOptionSpec) -> bool {
    matches!(
        option,
        TcpOptionSpec::Mss(None)
            | TcpOptionSpec::WindowScale(None)
            | TcpOptionSpec::Timestamps(None, _)
            | TcpOptionSpec::Timestamps(_, None)
    )
}

/// `[ect0]`, `(tos 0x2, ttl 64)`, `[flowlabel 0x1]`
fn ip(cursor: &mut Cursor<'_>) -> Parsed<IpSpec> {
    let mut ip = IpSpec::default();
    let close = if cursor.eat("[")? {
        "]"
    } else if cursor.eat("(")? {
        ")"
    } else {
        return Ok(ip);
    };
    loop {
        match cursor.word("an IP field (noecn, ect0, ect1, ect01, ce, tos, ttl, flowlabel)")? {
            "noecn" => ip.ecn = Some(EcnSpec::Exactly(0)),
            "ect1" => ip.ecn = Some(EcnSpec::Exactly(1)),
            "ect0" => ip.ecn = Some(EcnSpec::Exactly(2)),
            "ce" => ip.ecn = Some(EcnSpec::Exactly(3)),
            "ect01" => ip.ecn = Some(EcnSpec::Capable),
            "tos" => ip.tos = Some(hex_or_decimal(cursor, "tos")?),
            "ttl" | "hlim" => ip.ttl = Some(hex_or_decimal(cursor, "ttl")?),
            "flowlabel" => ip.flow_label = Some(hex_or_decimal(cursor, "flowlabel")?),
            other => return cursor.error(format!("no such IP field: {other}")),
        }
        if cursor.eat(close)? {
            return Ok(ip);
        }
        cursor.want(",")?;
    }
}

fn hex_or_decimal<T: TryFrom<u64>>(cursor: &mut Cursor<'_>, what: &str) -> Parsed<T> {
    if !cursor.eat("0x")? {
        return cursor.number(what);
    }
    let digits = cursor.run_of(|c| c.is_ascii_hexdigit())?;
    match u64::from_str_radix(digits, 16)
        .ok()
        .and_then(|value| T::try_from(value).ok())
    {
        Some(value) => Ok(value),
        None => cursor.error(format!("{what} is out of range: 0x{digits}")),
    }
}

/// `1234 > 8080`
fn ports(cursor: &mut Cursor<'_>) -> Parsed<Option<(u16, u16)>> {
    cursor.skip()?;
    let mut ahead = cursor.clone();
    let digits = ahead.run_of(|c| c.is_ascii_digit())?;
    if digits.is_empty() || !ahead.eat(">")? {
        return Ok(None);
    }
    let source = cursor.number("a port")?;
    cursor.want(">")?;
    Ok(Some((source, cursor.number("a port")?)))
}

fn tcp(cursor: &mut Cursor<'_>) -> Parsed<Body> {
    let flags = flags(cursor)?;
    if cursor.sees("/")? {
        return match cursor.rest_of_line() {
            encapsulated if encapsulated.starts_with("/udp") => Ok(Body::Foreign("TCP over UDP".to_owned())),
            _ => cursor.error("after the control bits: a range of sequence numbers"),
        };
    }
    let (seq, len) = range(cursor)?;
    let mut tcp = TcpSpec {
        flags,
        seq,
        len,
        ack: AckSpec::Absent,
        win: None,
        urg: None,
        options: Some(Vec::new()),
    };
    if cursor.eat_word("ack")? {
        tcp.ack = match cursor.number_or_any("the acknowledgment number")? {
            Some(ack) => AckSpec::Exactly(ack),
            None => AckSpec::Any,
        };
    }
    if cursor.eat_word("win")? {
        tcp.win = cursor.number_or_any("the window")?;
    }
    if cursor.eat_word("urg")? {
        tcp.urg = Some(cursor.number("the urgent pointer")?);
    }
    if cursor.eat("<")? {
        tcp.options = options(cursor)?;
    }
    // Fields for fuzzing and for encapsulation, of which this runner has none.
    if cursor.rest().trim_start_matches([' ', '\t']).starts_with('{') {
        cursor.rest_of_line();
        return Ok(Body::Foreign("fuzzed packets".to_owned()));
    }
    Ok(match cursor.foreign.take() {
        Some(foreign) => Body::Foreign(foreign),
        None => Body::Tcp(tcp),
    })
}

/// `S`, `P.`, `.`, `-`, `SEWA`, `P5.`, `.5`
fn flags(cursor: &mut Cursor<'_>) -> Parsed<TcpFlags> {
    let run = cursor.run_of(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')?;
    if run.is_empty() {
        return cursor.expected("control bits");
    }
    let mut flags = TcpFlags::default();
    for c in run.chars() {
        flags = match c {
            'F' => flags.with(TcpFlags::FIN),
            'S' => flags.with(TcpFlags::SYN),
            'R' => flags.with(TcpFlags::RST),
            'P' => flags.with(TcpFlags::PSH),
            '.' => flags.with(TcpFlags::ACK),
            'U' => flags.with(TcpFlags::URG),
            'E' => flags.with(TcpFlags::ECE),
            'W' | 'C' => flags.with(TcpFlags::CWR),
            'A' => flags.with(TcpFlags::AE),
            '-' if run.len() == 1 => flags,
            '0'..='7' => flags.with_ace(c as u8 - b'0'),
            _ => return cursor.error(format!("`{run}`: `{c}` is no control bit")),
        };
    }
    Ok(flags)
}

/// `1:1001(1000)`; the first number may be `...` in an expectation.
fn range(cursor: &mut Cursor<'_>) -> Parsed<(Option<u32>, u32)> {
    let start: Option<u32> = cursor.number_or_any("a sequence number")?;
    cursor.want(":")?;
    let end: Option<u32> = cursor.number_or_any("a sequence number")?;
    cursor.want("(")?;
    let len: u32 = cursor.number("a length")?;
    cursor.want(")")?;
    if len > 65_535 {
        return cursor.error("more payload than a packet can carry");
    }
    if let (Some(start), Some(end)) = (start, end)
        && start.wrapping_add(len) != end
    {
        return cursor.error(format!("{start}:{end} is not {len} bytes"));
    }
    Ok((start, len))
}

fn options(cursor: &mut Cursor<'_>) -> Parsed<Option<Vec<TcpOptionSpec>>> {
    if cursor.eat("...")? {
        cursor.want(">")?;
        return Ok(None);
    }
    let mut options = Vec::new();
    let mut bytes = 0;
    loop {
        let option = option(cursor)?;
        bytes += option.encoded_len();
        options.push(option);
        if bytes > OPTIONS_MAX {
            return cursor.error("more options than a TCP header can carry");
        }
        if cursor.eat(">")? {
            return Ok(Some(options));
        }
        cursor.want(",")?;
    }
}

fn option(cursor: &mut Cursor<'_>) -> Parsed<TcpOptionSpec> {
    Ok(match cursor.word("a TCP option")? {
        "nop" => TcpOptionSpec::Nop,
        "eol" => TcpOptionSpec::Eol,
        "mss" => TcpOptionSpec::Mss(cursor.number_or_any("mss")?),
        "wscale" => TcpOptionSpec::WindowScale(cursor.number_or_any("wscale")?),
        "sackOK" => TcpOptionSpec::SackPermitted,
        "sack" => {
            let mut blocks = Vec::new();
            while cursor
                .rest()
                .trim_start()
                .starts_with(|c: char| c.is_ascii_digit())
            {
                let left = cursor.number("the left edge of a block")?;
                cursor.want(":")?;
                blocks.push((left, cursor.number("the right edge of a block")?));
            }
            TcpOptionSpec::Sack(blocks)
        }
        "TS" => {
            if !cursor.eat_word("val")? {
                return cursor.expected("`val`");
            }
            let value = cursor.number_or_any("a timestamp")?;
            if !cursor.eat_word("ecr")? {
                return cursor.expected("`ecr`");
            }
            TcpOptionSpec::Timestamps(value, cursor.number_or_any("a timestamp")?)
        }
        name @ ("FO" | "FOEXP") => {
            let word = cursor.peek_word()?;
            let cookie = if word == "TFO_COOKIE" {
                cursor.word("a cookie")?;
                Cookie::Own
            } else if word.chars().all(|c| c.is_ascii_hexdigit()) {
                Cookie::Bytes(hex(cursor)?)
            } else {
                // One that another stack would make, with its own key.
                cursor.foreign = Some(format!("the cookie {}", cursor.word("a cookie")?));
                Cookie::Bytes(Vec::new())
            };
            TcpOptionSpec::FastOpen {
                experimental: name == "FOEXP",
                cookie,
            }
        }
        "md5" => TcpOptionSpec::Md5(hex(cursor)?),
        "ECN" | "AccECN" | "accecn" => accurate_ecn(cursor)?,
        other => return cursor.error(format!("no such TCP option: {other}")),
    })
}

/// `e1b 1 ceb 0 e0b 1`, or the other order, or fewer.
fn accurate_ecn(cursor: &mut Cursor<'_>) -> Parsed<TcpOptionSpec> {
    let ect1_first = cursor.peek_word()? != "e0b";
    let order = if ect1_first {
        ["e1b", "ceb", "e0b"]
    } else {
        ["e0b", "ceb", "e1b"]
    };
    let mut counters = Vec::new();
    for name in order {
        if !cursor.eat_word(name)? {
            break;
        }
        let counter: u32 = cursor.number("a counter")?;
        if counter >= 1 << 24 {
            return cursor.error("a counter of more than 24 bits");
        }
        counters.push(counter);
    }
    Ok(TcpOptionSpec::AccEcn { ect1_first, counters })
}

/// Pairs of hexadecimal digits; may be none.
fn hex(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    let digits = cursor.run_of(|c| c.is_ascii_hexdigit())?;
    if !digits.len().is_multiple_of(2) {
        return cursor.error("an odd number of hexadecimal digits");
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_default();
    Ok((0..digits.len()).step_by(2).map(byte).collect())
}

/// `icmp unreachable frag_needed mtu 1400 [1:1461(1460)]`
fn icmp(cursor: &mut Cursor<'_>) -> Parsed<IcmpSpec> {
    cursor.word("`icmp`")?;
    let kind = cursor.word("the type of an ICMP message")?.to_owned();
    let mut icmp = IcmpSpec {
        kind,
        code: None,
        mtu: None,
        echoed: None,
    };
    let word = cursor.peek_word()?;
    let code = !word.is_empty() && !word.starts_with(|c: char| c.is_ascii_digit());
    if code && word != "mtu" && word != "id" {
        icmp.code = Some(cursor.word("the code of an ICMP message")?.to_owned());
    }
    if cursor.eat_word("mtu")? {
        icmp.mtu = Some(cursor.number("mtu")?);
    }
    if cursor.eat_word("id")? {
        cursor.number::<u16>("id")?;
    }
    if cursor.eat("[")? {
        let (start, len) = range(cursor)?;
        cursor.want("]")?;
        match start {
            Some(start) => icmp.echoed = Some((start, len)),
            None => return cursor.error("`...` cannot be echoed"),
        }
    }
    Ok(icmp)
}
