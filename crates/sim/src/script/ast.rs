//! A script as it was written: what happens when, and what is expected.
//!
//! Read first: packetdrill's own Syntax.md. Numbers stand here as in the script;
//! mapping them to what is really on the wire is the runner's business.

use core::net::IpAddr;

/// Microseconds, the language's unit of time.
pub type Micros = i64;

/// A whole script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// The `--name=value` lines, in order.
    pub options: Vec<OptionLine>,
    /// What happens, in order; commands that stand without a time happen at once.
    pub events: Vec<Event>,
}

/// One `--name=value`.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionLine {
    /// Where it stands.
    pub line: u32,
    /// Without the dashes.
    pub name: String,
    /// What stands behind the `=`, if anything does.
    pub value: Option<String>,
}

/// Something that happens, or is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Where it stands.
    pub line: u32,
    /// When.
    pub when: When,
    /// What.
    pub action: Action,
}

/// When something happens or is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This long after the start of the script.
    Absolute(Micros),
    /// This long after the event before.
    Relative(Micros),
    /// Between these times after the start (packets of the stack only).
    AbsoluteRange(Micros, Micros),
    /// Between these times after the event before (packets of the stack only).
    RelativeRange(Micros, Micros),
    /// Whenever it comes (packets of the stack only).
    Any,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A packet is put in, or expected.
    Packet(PacketSpec),
    /// The application calls.
    Call(Call),
    /// A line for the shell.
    Command(String),
    /// An assertion about the connection's state.
    Code(String),
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `<`: into the stack.
    Inbound,
    /// `>`: out of it.
    Outbound,
}

/// A packet to put in, or to expect.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketSpec {
    /// Which way.
    pub direction: Direction,
    /// What is said of the IP header.
    pub ip: IpSpec,
    /// Source and destination, where named.
    pub ports: Option<(u16, u16)>,
    /// What it carries.
    pub body: Body,
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A TCP segment.
    Tcp(TcpSpec),
    /// An ICMP message, of the address family of the script.
    Icmp(IcmpSpec),
    /// Something that is not ours to do; its name.
    Foreign(String),
}

/// The ECN field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnSpec {
    /// These two bits.
    Exactly(u8),
    /// ECT(0) or ECT(1).
    Capable,
}

/// What is said of an IP header; what is not said is not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpSpec {
    /// The ECN field.
    pub ecn: Option<EcnSpec>,
    /// The whole octet of DSCP and ECN.
    pub tos: Option<u8>,
    /// Time to live, or hop limit.
    pub ttl: Option<u8>,
    /// The flow label of IPv6.
    pub flow_label: Option<u32>,
}

/// The control bits of a TCP header, with AE of RFC 9768.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// No more data.
    pub const FIN: Self = Self(0x001);
    /// Numbers begin.
    pub const SYN: Self = Self(0x002);
    /// It is over.
    pub const RST: Self = Self(0x004);
    /// Push.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgment counts.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x020);
    /// Congestion was seen.
    pub const ECE: Self = Self(0x040);
    /// The window was cut.
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN.
    pub const AE: Self = Self(0x100);

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other`.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With the three bits AE, CWR and ECE holding the counter `ace`.
    pub fn with_ace(self, ace: u8) -> Self {
        let bits = |mask: u8, flag: Self| if ace & mask != 0 { flag.0 } else { 0 };
        Self(self.0 | bits(4, Self::AE) | bits(2, Self::CWR) | bits(1, Self::ECE))
    }
}

/// A TCP segment. Numbers that stand as `...` in an expectation are `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpSpec {
    /// The control bits.
    pub flags: TcpFlags,
    /// The first sequence number.
    pub seq: Option<u32>,
    /// How many bytes of payload.
    pub len: u32,
    /// The acknowledgment; absent where none is written.
    pub ack: AckSpec,
    /// The window, as it stands in the header.
    pub win: Option<u16>,
    /// The urgent pointer.
    pub urg: Option<u16>,
    /// The options; `None` stands for `<...>`.
    pub options: Option<Vec<TcpOptionSpec>>,
}

/// What is said of the acknowledgment number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckSpec {
    /// Nothing: the field is 0.
    Absent,
    /// This.
    Exactly(u32),
    /// `ack ...`: any.
    Any,
}

/// A Fast Open cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Just these bytes.
    Bytes(Vec<u8>),
    /// `TFO_COOKIE`: the one that the stack gives to this peer, which a script can't know.
    Own,
}

impl Cookie {
    /// How long those are that this stack gives.
    const OWN_LEN: usize = 8;

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Own => Self::OWN_LEN,
        }
    }

    /// Whether it is none, which asks for one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One TCP option. Values that stand as `...` are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpOptionSpec {
    /// `nop`
    Nop,
    /// `eol`
    Eol,
    /// `mss 1460`
    Mss(Option<u16>),
    /// `wscale 7`
    WindowScale(Option<u8>),
    /// `sackOK`
    SackPermitted,
    /// `sack 1:2 3:4`
    Sack(Vec<(u32, u32)>),
    /// `TS val 1 ecr 0`
    Timestamps(Option<u32>, Option<u32>),
    /// `FO cookie` (kind 34), or `FOEXP cookie` (kind 254)
    FastOpen {
        /// With the experimental kind.
        experimental: bool,
        /// Empty asks for one.
        cookie: Cookie,
    },
    /// `md5 digest`
    Md5(Vec<u8>),
    /// `ECN e1b 1 ceb 0 e0b 1`: RFC 9768's byte counters
    AccEcn {
        /// Whether ECT(1) comes first (kind 174, else 172).
        ect1_first: bool,
        /// The counters that are there, in order, 24 bits each.
        counters: Vec<u32>,
    },
    /// A kind that has no name here, with its body (received ones only).
    Unknown(u8, Vec<u8>),
}

/// An ICMP message about a packet of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpSpec {
    /// Its type, by name.
    pub kind: String,
    /// Its code, by name.
    pub code: Option<String>,
    /// The size of packet that fits.
    pub mtu: Option<u32>,
    /// The segment that it answers: first number and bytes of payload.
    pub echoed: Option<(u32, u32)>,
}

/// A call of the application.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// What it is given.
    pub arguments: Vec<Expr>,
    /// What it is to answer.
    pub result: Expr,
    /// The name of the errno that is to go with -1.
    pub errno: Option<String>,
    /// For a call that blocks: when it is to come back, counted as the event's own time.
    pub ends: Option<Micros>,
}

/// A value in a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `...`
    Ellipsis,
    /// A number.
    Int(i64),
    /// A name.
    Word(String),
    /// `"bytes"`, with whether `...` follows.
    Text(Vec<u8>, bool),
    /// An address that stands bare.
    Address(IpAddr),
    /// `a | b`
    Or(Box<Expr>, Box<Expr>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{name=a, b}`
    Struct(Vec<Field>),
    /// `htons(80)`, and a name with a length as in `msg_iov(1)`
    Apply(String, Vec<Expr>),
    /// `name = value` outside a structure
    Assign(Box<Expr>, Box<Expr>),
}

/// One member of a structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its value.
    pub value: Expr,
}

impl Expr {
    /// The member `name` of a structure.
    pub fn field(&self, name: &str) -> Option<&Expr> {
        match self {
            Self::Struct(fields) => fields
                .iter()
                .find(|field| field.name.as_deref() == Some(name))
                .map(|field| &field.value),
            _ => None,
        }
    }
}
