//! Packets as a script would write them, for reports.

use core::fmt;

use super::ast::{
    AckSpec, Action, Body, Direction, EcnSpec, Event, IcmpSpec, IpSpec, PacketSpec, TcpFlags, TcpSpec, When,
};

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [(TcpFlags, char); 9] = [
            (TcpFlags::FIN, 'F'),
            (TcpFlags::SYN, 'S'),
            (TcpFlags::RST, 'R'),
            (TcpFlags::PSH, 'P'),
            (TcpFlags::URG, 'U'),
            (TcpFlags::ECE, 'E'),
            (TcpFlags::CWR, 'W'),
            (TcpFlags::AE, 'A'),
            (TcpFlags::ACK, '.'),
        ];
        let letters: String = LETTERS
            .iter()
            .filter(|(flag, _)| self.has(*flag))
            .map(|(_, letter)| letter)
            .collect();
        f.pad(if letters.is_empty() { "-" } else { &letters })
    }
}

impl fmt::Display for IpSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        match (self.tos, self.ecn) {
            (Some(tos), _) => parts.push(format!("tos 0x{tos:x}")),
            (None, Some(EcnSpec::Capable)) => parts.push("ect01".to_owned()),
            (None, Some(EcnSpec::Exactly(bits))) => {
                parts.push(["noecn", "ect1", "ect0", "ce"][usize::from(bits & 3)].to_owned());
            }
            (None, None) => {}
        }
        parts.extend(self.ttl.map(|ttl| format!("ttl {ttl}")));
        parts.extend(self.flow_label.map(|label| format!("flowlabel 0x{label:x}")));
        if parts.is_empty() {
            return Ok(());
        }
        write!(f, "[{}] ", parts.join(", "))
    }
}

impl fmt::Display for TcpSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.flags)?;
        match self.seq {
            Some(seq) => write!(f, "{seq}:{}({})", seq.wrapping_add(self.len), self.len)?,
            None => write!(f, "...:...({})", self.len)?,
        }
        match self.ack {
            AckSpec::Absent => {}
            AckSpec::Exactly(ack) => write!(f, " ack {ack}")?,
            AckSpec::Any => f.write_str(" ack ...")?,
        }
        if let Some(win) = self.win {
            write!(f, " win {win}")?;
        }
        if let Some(urg) = self.urg {
            write!(f, " urg {urg}")?;
        }
        match &self.options {
            None => f.write_str(" <...>"),
            Some(options) if options.is_empty() => Ok(()),
            Some(options) => {
                let options: Vec<String> = options.iter().map(ToString::to_string).collect();
                write!(f, " <{}>", options.join(","))
            }
        }
    }
}

impl fmt::Display for IcmpSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "icmp {}", self.kind)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if let Some((start, len)) = self.echoed {
            write!(f, " [{start}:{}({len})]", start.wrapping_add(len))?;
        }
        Ok(())
    }
}

impl fmt::Display for PacketSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.direction {
            Direction::Inbound => '<',
            Direction::Outbound => '>',
        };
        write!(f, "{arrow} {}", self.ip)?;
        if let Some((from, to)) = self.ports {
            write!(f, "{from} > {to} ")?;
        }
        match &self.body {
            Body::Tcp(tcp) => tcp.fmt(f),
            Body::Icmp(icmp) => icmp.fmt(f),
            Body::Foreign(name) => f.write_str(name),
        }
    }
}

/// Microseconds as a script writes a time.
pub(super) struct Seconds(pub(super) i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0.rem_euclid(1_000_000))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absolute(at) => write!(f, "{}", Seconds(at)),
            Self::Relative(after) => write!(f, "+{}", Seconds(after)),
            Self::AbsoluteRange(from, to) => write!(f, "{}~{}", Seconds(from), Seconds(to)),
            Self::RelativeRange(from, to) => write!(f, "+{}~+{}", Seconds(from), Seconds(to)),
            Self::Any => f.write_str("*"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.when)?;
        match &self.action {
            Action::Packet(packet) => packet.fmt(f),
            Action::Call(call) => write!(f, "{}(...)", call.name),
            Action::Command(line) => write!(f, "`{line}`"),
            Action::Code(code) => write!(f, "%{{ {code} }}%"),
        }
    }
}
