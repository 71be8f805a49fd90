//! What is always there of a connection: one cache line.
//!
//! Read first: DESIGN section 4.
//!
//! Always true: a record is 64 bytes, IPv4 and IPv6 alike; it says who the two
//! ends are and holds the application's word; the rest of it depends on its
//! [`Kind`]: the next free record, where the active connection lies, the parked
//! connection itself, or a handshake that somebody else began.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use crore_base::FourTuple;
use crore_tcp::{HalfOpen, PARKED_LEN, Parked};

/// What a record stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// No connection.
    Free,
    /// A connection whose state lies in the pool.
    Active,
    /// A connection that is idle, whole in this record.
    Parked,
    /// A handshake whose first acknowledgment has not come.
    HalfOpen,
}

/// What the application wanted of a parked connection while the pool was used up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Wish {
    None,
    Write,
    Shutdown,
    Close,
    Abort,
}

/// The bits of [`Record::flags`].
mod flag {
    pub(super) const KIND: u8 = 0b11;
    pub(super) const V6: u8 = 4;
    pub(super) const KNOWN: u8 = 8;
    pub(super) const RELEASED: u8 = 16;
    pub(super) const WISH_SHIFT: u8 = 5;
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Record {
    /// IPv6: the peer's address. IPv4: the peer's and ours, in its first half.
    addrs: [u8; 16],
    /// The application's word; in a list, the neighbours there.
    pub(crate) user: u64,
    remote_port: u16,
    local_port: u16,
    /// IPv6: which of our addresses.
    local: u16,
    generation: [u8; 3],
    flags: u8,
    body: [u8; PARKED_LEN],
}

const _: () = assert!(size_of::<Record>() == 64);

/// Generations of a record, before they repeat.
pub(crate) const GENERATIONS: u32 = 1 << 24;

impl Record {
    pub(crate) const FREE: Self = Self {
        addrs: [0; 16],
        user: 0,
        remote_port: 0,
        local_port: 0,
        local: 0,
        generation: [0; 3],
        flags: 0,
        body: [0; PARKED_LEN],
    };

    /// Begins a new life as a connection of `tuple`, whose IPv6 address of ours
    /// is number `local`. What it stands for is set next.
    pub(crate) fn begin(&mut self, tuple: &FourTuple, local: u16) {
        self.flags = 0;
        self.addrs = [0; 16];
        match (tuple.remote_addr, tuple.local_addr) {
            (IpAddr::V4(remote), IpAddr::V4(ours)) => {
                self.addrs[..4].copy_from_slice(&remote.octets());
                self.addrs[4..8].copy_from_slice(&ours.octets());
            }
            (remote, _) => {
                self.addrs = wide(remote);
                self.flags = flag::V6;
            }
        }
        self.user = 0;
        self.remote_port = tuple.remote_port;
        self.local_port = tuple.local_port;
        self.local = local;
    }

    /// Whether it is the connection of `tuple`.
    #[inline]
    pub(crate) fn is_of(&self, tuple: &FourTuple, locals: &Locals) -> bool {
        if self.remote_port != tuple.remote_port || self.local_port != tuple.local_port {
            return false;
        }
        match (tuple.remote_addr, tuple.local_addr) {
            (IpAddr::V4(remote), IpAddr::V4(ours)) => {
                self.flags & flag::V6 == 0
                    && self.addrs[..4] == remote.octets()
                    && self.addrs[4..8] == ours.octets()
            }
            (IpAddr::V6(remote), IpAddr::V6(ours)) => {
                self.flags & flag::V6 != 0 && self.addrs == remote.octets() && locals.get(self.local) == ours
            }
            _ => false,
        }
    }

    /// Who the two ends are.
    pub(crate) fn tuple(&self, locals: &Locals) -> FourTuple {
        let (remote_addr, local_addr) = if self.flags & flag::V6 != 0 {
            (
                IpAddr::V6(Ipv6Addr::from(self.addrs)),
                IpAddr::V6(locals.get(self.local)),
            )
        } else {
            let [a, b, c, d, e, f, g, h, ..] = self.addrs;
            (
                IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
                IpAddr::V4(Ipv4Addr::new(e, f, g, h)),
            )
        };
        FourTuple {
            local_addr,
            local_port: self.local_port,
            remote_addr,
            remote_port: self.remote_port,
        }
    }

    #[inline]
    pub(crate) const fn kind(&self) -> Kind {
        match self.flags & flag::KIND {
            0 => Kind::Free,
            1 => Kind::Active,
            2 => Kind::Parked,
            _ => Kind::HalfOpen,
        }
    }

    fn set_kind(&mut self, kind: Kind) {
        self.flags = self.flags & !flag::KIND | kind as u8;
    }

    /// Free; `next` is the next free record.
    pub(crate) fn set_free(&mut self, next: u32) {
        self.flags = 0;
        // So that it is nobody's ([`Self::is_of`]): a burst may still hold it for
        // a segment that comes behind the one that ended the connection.
        self.local_port = 0;
        self.set_generation(self.generation() + 1);
        self.set_index(next);
    }

    /// Active, at `index` of the pool.
    pub(crate) fn set_active(&mut self, index: u32) {
        self.set_kind(Kind::Active);
        self.set_index(index);
    }

    pub(crate) fn set_parked(&mut self, parked: Parked) {
        self.set_kind(Kind::Parked);
        self.body = parked.to_bytes();
    }

    pub(crate) fn set_half_open(&mut self, half: HalfOpen) {
        self.set_kind(Kind::HalfOpen);
        self.body = half.to_bytes();
    }

    /// The next free record, or where the active connection lies.
    #[inline]
    pub(crate) const fn index(&self) -> u32 {
        let [a, b, c, d, ..] = self.body;
        u32::from_ne_bytes([a, b, c, d])
    }

    fn set_index(&mut self, index: u32) {
        self.body[..4].copy_from_slice(&index.to_ne_bytes());
    }

    /// The parked connection, if it is one.
    pub(crate) fn parked(&self) -> Option<Parked> {
        (self.kind() == Kind::Parked).then(|| Parked::from_bytes(&self.body))
    }

    /// The handshake, if it is one.
    pub(crate) fn half_open(&self) -> Option<HalfOpen> {
        (self.kind() == Kind::HalfOpen).then(|| HalfOpen::from_bytes(&self.body))
    }

    #[inline]
    pub(crate) const fn generation(&self) -> u32 {
        let [a, b, c] = self.generation;
        u32::from_le_bytes([a, b, c, 0])
    }

    pub(crate) fn set_generation(&mut self, generation: u32) {
        let [a, b, c, _] = (generation % GENERATIONS).to_le_bytes();
        self.generation = [a, b, c];
    }

    /// The application has been told of it, or opened it itself.
    pub(crate) fn set_known(&mut self) {
        self.flags |= flag::KNOWN;
    }

    /// The application has given it back; it hears no more of it.
    #[inline]
    pub(crate) const fn is_released(&self) -> bool {
        self.flags & flag::RELEASED != 0
    }

    pub(crate) fn set_released(&mut self) {
        self.flags |= flag::RELEASED;
    }

    /// Whether the application holds a handle to it.
    #[inline]
    pub(crate) const fn is_held(&self) -> bool {
        self.flags & (flag::KNOWN | flag::RELEASED) == flag::KNOWN
    }

    pub(crate) const fn wish(&self) -> Wish {
        match self.flags >> flag::WISH_SHIFT {
            0 => Wish::None,
            1 => Wish::Write,
            2 => Wish::Shutdown,
            3 => Wish::Close,
            _ => Wish::Abort,
        }
    }

    pub(crate) fn set_wish(&mut self, wish: Wish) {
        let rest = self.flags & ((1 << flag::WISH_SHIFT) - 1);
        self.flags = rest | (wish as u8) << flag::WISH_SHIFT;
    }
}

fn wide(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

/// Our IPv6 addresses that connections use, by number, so that a record need
/// not hold sixteen bytes more. They are this host's own, and few.
#[derive(Default)]
pub(crate) struct Locals {
    list: Vec<Ipv6Addr>,
    numbers: BTreeMap<Ipv6Addr, u16>,
}

impl Locals {
    /// The number of `addr`; none if 65,536 others have one already. IPv4 needs none.
    pub(crate) fn number(&mut self, addr: IpAddr) -> Option<u16> {
        let IpAddr::V6(addr) = addr else { return Some(0) };
        if let Some(&number) = self.numbers.get(&addr) {
            return Some(number);
        }
        let number = u16::try_from(self.list.len()).ok()?;
        self.list.push(addr);
        self.numbers.insert(addr, number);
        Some(number)
    }

    #[inline]
    fn get(&self, number: u16) -> Ipv6Addr {
        self.list
            .get(usize::from(number))
            .copied()
            .unwrap_or(Ipv6Addr::UNSPECIFIED)
    }
}
