//! An address with its prefix length, as in `10.77.0.2/24`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host's address on a link, and how many leading bits name the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The host's own address.
    pub address: IpAddr,
    /// The length of the link's prefix in bits.
    pub length: u8,
}

impl Prefix {
    /// Whether `other` lies on the same link.
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(mine), IpAddr::V4(theirs)) => {
                let differing = u32::from(mine) ^ u32::from(theirs);
                differing.leading_zeros() >= u32::from(self.length)
            }
            (IpAddr::V6(mine), IpAddr::V6(theirs)) => {
                let differing = u128::from(mine) ^ u128::from(theirs);
                differing.leading_zeros() >= u32::from(self.length)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WANTED: &str = "an address is written with its prefix length, as in 10.77.0.2/24 or fd77::2/64";
        let (address, length) = text
            .split_once('/')
            .ok_or_else(|| format!("{text:?} has no prefix length: {WANTED}"))?;
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("{address:?} is no IP address: {WANTED}"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length: u8 = length
            .parse()
            .ok()
            .filter(|&l| (1..=most).contains(&l))
            .ok_or_else(|| format!("{length:?} is no prefix length of {address}: 1 to {most}"))?;
        if !usable(address) {
            return Err(format!("{address} is no address that a host can have"));
        }
        Ok(Self { address, length })
    }
}

/// Whether a host may use `address` as its own on a link.
fn usable(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast)
}
