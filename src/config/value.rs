//! How one value is read from TOML and written back.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crore_base::MacAddr;
use toml::Value as Toml;

use super::Prefix;
use super::section::Range;

/// A type that a key may have.
pub(super) trait Value: Sized {
    /// Reads it; the error says what was wanted and what was found.
    fn read(value: &Toml) -> Result<Self, String>;
    /// Writes it; `None` where it is absent.
    fn write(&self) -> Option<Toml>;
    /// Whether it lies in `range`; most types are checked while they are read.
    fn fits(&self, _range: &Range) -> bool {
        true
    }
}

/// What kind of thing a TOML value is, for a message.
fn found(value: &Toml) -> String {
    match value {
        Toml::String(text) => format!("the text {text:?}"),
        Toml::Integer(n) => format!("the number {n}"),
        Toml::Float(x) => format!("the number {x}"),
        Toml::Boolean(b) => format!("{b}"),
        Toml::Datetime(_) => "a date".into(),
        Toml::Array(_) => "a list".into(),
        Toml::Table(_) => "a table".into(),
    }
}

fn text(value: &Toml, wanted: &str) -> Result<String, String> {
    match value {
        Toml::String(text) => Ok(text.clone()),
        other => Err(format!("wants {wanted}, not {}", found(other))),
    }
}

macro_rules! whole {
    ($($ty:ty),*) => { $(
        impl Value for $ty {
            fn read(value: &Toml) -> Result<Self, String> {
                match value {
                    Toml::Integer(n) => Self::try_from(*n)
                        .map_err(|_| format!("{n} is out of its range")),
                    other => Err(format!("wants a whole number, not {}", found(other))),
                }
            }
            fn write(&self) -> Option<Toml> {
                i64::try_from(*self).ok().map(Toml::Integer)
            }
            fn fits(&self, range: &Range) -> bool {
                match *range {
                    Range::Whole(min, max) => (min..=max).contains(&u64::from(*self)),
                    _ => true,
                }
            }
        }
    )* };
}
whole!(u8, u16, u32, u64);

impl Value for f64 {
    fn read(value: &Toml) -> Result<Self, String> {
        match value {
            Toml::Float(x) => Ok(*x),
            Toml::Integer(n) => Ok(*n as f64),
            other => Err(format!("wants a number, not {}", found(other))),
        }
    }
    fn write(&self) -> Option<Toml> {
        Some(Toml::Float(*self))
    }
    fn fits(&self, range: &Range) -> bool {
        match *range {
            Range::Real(min, max) => (min..=max).contains(self),
            _ => true,
        }
    }
}

impl Value for bool {
    fn read(value: &Toml) -> Result<Self, String> {
        match value {
            Toml::Boolean(b) => Ok(*b),
            other => Err(format!("wants true or false, not {}", found(other))),
        }
    }
    fn write(&self) -> Option<Toml> {
        Some(Toml::Boolean(*self))
    }
}

impl Value for String {
    fn read(value: &Toml) -> Result<Self, String> {
        text(value, "text in quotes")
    }
    fn write(&self) -> Option<Toml> {
        Some(Toml::String(self.clone()))
    }
}

impl Value for PathBuf {
    fn read(value: &Toml) -> Result<Self, String> {
        text(value, "a path in quotes").map(Self::from)
    }
    fn write(&self) -> Option<Toml> {
        self.to_str().map(|s| Toml::String(s.into()))
    }
}

impl Value for Ipv4Addr {
    fn read(value: &Toml) -> Result<Self, String> {
        let text = text(value, "an IPv4 address in quotes")?;
        text.parse().map_err(|_| match text.parse::<Ipv6Addr>() {
            Ok(v6) => format!("{v6} is an IPv6 address; this key wants an IPv4 address"),
            Err(_) => format!("{text:?} is no IPv4 address"),
        })
    }
    fn write(&self) -> Option<Toml> {
        Some(Toml::String(self.to_string()))
    }
}

impl Value for Ipv6Addr {
    fn read(value: &Toml) -> Result<Self, String> {
        let text = text(value, "an IPv6 address in quotes")?;
        text.parse().map_err(|_| match text.parse::<Ipv4Addr>() {
            Ok(v4) => format!("{v4} is an IPv4 address; this key wants an IPv6 address"),
            Err(_) => format!("{text:?} is no IPv6 address"),
        })
    }
    fn write(&self) -> Option<Toml> {
        Some(Toml::String(self.to_string()))
    }
}

impl Value for MacAddr {
    fn read(value: &Toml) -> Result<Self, String> {
        let text = text(value, "an Ethernet address in quotes")?;
        let mac: Self = text.parse().map_err(|wanted| format!("{text:?}: {wanted}"))?;
        if mac.is_multicast() || mac == Self::default() {
            return Err(format!("{mac} is no address that one station can have"));
        }
        Ok(mac)
    }
    fn write(&self) -> Option<Toml> {
        Some(Toml::String(self.to_string()))
    }
}

impl Value for Prefix {
    fn read(value: &Toml) -> Result<Self, String> {
        text(value, "an address with its prefix length in quotes")?.parse()
    }
    fn write(&self) -> Option<Toml> {
        Some(Toml::String(self.to_string()))
    }
}

impl<T: Value> Value for Option<T> {
    fn read(value: &Toml) -> Result<Self, String> {
        T::read(value).map(Some)
    }
    fn write(&self) -> Option<Toml> {
        self.as_ref().and_then(T::write)
    }
    fn fits(&self, range: &Range) -> bool {
        self.as_ref().is_none_or(|v| v.fits(range))
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(value: &Toml) -> Result<Self, String> {
        match value {
            Toml::Array(items) => items.iter().map(T::read).collect(),
            other => Err(format!("wants a list in [ ], not {}", found(other))),
        }
    }
    fn write(&self) -> Option<Toml> {
        self.iter().map(T::write).collect::<Option<_>>().map(Toml::Array)
    }
    fn fits(&self, range: &Range) -> bool {
        self.iter().all(|v| v.fits(range))
    }
}

/// Declares an enumeration whose variants are words in the configuration.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant,)+ }

        impl $name {
            /// The words, in their order.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word for it.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl crate::config::value::Value for $name {
            fn read(value: &toml::Value) -> Result<Self, String> {
                let text = String::read(value)?;
                match text.as_str() {
                    $($word => Ok(Self::$variant),)+
                    other => Err(format!("{other:?} is none of {}", Self::WORDS.join(", "))),
                }
            }
            fn write(&self) -> Option<toml::Value> {
                Some(toml::Value::String(self.word().into()))
            }
        }
    };
}
pub(super) use words;
