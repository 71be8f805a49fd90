//! A section of the configuration: its keys declared once, from which come the
//! struct, its defaults, the reading, the range checks and the documentation.

use std::fmt;

/// What a key allows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Range {
    /// Whole numbers from the first to the second, both included.
    Whole(u64, u64),
    /// Numbers from the first to the second, both included.
    Real(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Checked while it is read; said in words.
    Words(&'static str),
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(min, max) => write!(f, "{min} to {max}"),
            Self::Real(min, max) => write!(f, "{min} to {max}"),
            Self::OneOf(words) => f.write_str(&words.join(", ")),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// One key as it is documented.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name inside its section.
    pub name: &'static str,
    /// The unit of its value, empty where it has none.
    pub unit: &'static str,
    /// What it allows.
    pub range: Range,
    /// What it is when nothing is said, as TOML; `None`: absent.
    pub default: Option<toml::Value>,
    /// What it does.
    pub doc: &'static str,
}

/// Why a key could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such key in the section.
    Unknown,
    /// The value is of the wrong kind, or out of range.
    Bad(String),
}

/// What all sections can do.
pub trait Section: Default + Clone + PartialEq {
    /// The name of its table.
    const NAME: &'static str;
    /// What the section is about.
    const DOC: &'static str;
    /// Its keys, in order.
    fn keys() -> Vec<Key>;
    /// Sets one key.
    fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), Refusal>;
    /// Reads one key back; `None`: absent, or no such key.
    fn get(&self, key: &str) -> Option<toml::Value>;
}

/// Reads and range-checks one value.
pub(super) fn accept<T: super::value::Value>(
    value: &toml::Value,
    unit: &str,
    range: Range,
) -> Result<T, Refusal> {
    let parsed = T::read(value).map_err(|why| match range {
        Range::Whole(..) | Range::Real(..) if value.is_integer() => Refusal::Bad(outside(value, unit, range)),
        _ => Refusal::Bad(why),
    })?;
    if parsed.fits(&range) {
        Ok(parsed)
    } else {
        Err(Refusal::Bad(outside(value, unit, range)))
    }
}

fn outside(value: &toml::Value, unit: &str, range: Range) -> String {
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    format!("{value} is outside its range, {range}{unit}")
}

/// Declares a section. Each key: its doc comment, `name: type = default, unit, range;`.
macro_rules! section {
    ($(#[doc = $sdoc:literal])+ $name:ident = $section:literal {
        $($(#[doc = $doc:literal])+ $field:ident : $ty:ty = $default:expr, $unit:literal, $range:expr;)+
    }) => {
        $(#[doc = $sdoc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $ty,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl crate::config::section::Section for $name {
            const NAME: &'static str = $section;
            const DOC: &'static str = concat!($($sdoc,)+);

            fn keys() -> Vec<crate::config::section::Key> {
                let defaults = Self::default();
                vec![$(crate::config::section::Key {
                    name: stringify!($field),
                    unit: $unit,
                    range: $range,
                    default: crate::config::value::Value::write(&defaults.$field),
                    doc: concat!($($doc,)+),
                },)+]
            }

            fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), crate::config::section::Refusal> {
                match key {
                    $(stringify!($field) => {
                        self.$field = crate::config::section::accept(value, $unit, $range)?;
                        Ok(())
                    })+
                    _ => Err(crate::config::section::Refusal::Unknown),
                }
            }

            fn get(&self, key: &str) -> Option<toml::Value> {
                match key {
                    $(stringify!($field) => crate::config::value::Value::write(&self.$field),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use section;
