//! From a file and assignments on the command line to a checked [`Config`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::{Table, Value};

use super::keys::for_each_section;
use super::keys::{Eal, Faults, Net, Serve, StackLimits, Tcp, Wire};
use super::section::{Refusal, Section};
use super::{Config, ConfigError};

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(String),
    /// By an option of the command line, such as `--set`.
    Option(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(path),
            Self::Option(option) => f.write_str(option),
        }
    }
}

/// One `key=value` of the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The option that brought it.
    pub option: &'static str,
    /// The dotted key.
    pub key: String,
    /// The value, as TOML.
    pub value: Value,
}

impl Assignment {
    /// Reads `key=value`. A value that is no TOML is taken for text, so that
    /// quotes may be left out.
    pub fn parse(option: &'static str, text: &str) -> Result<Self, ConfigError> {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| {
                let example = "wants key=value, as in tcp.mss=1200";
                ConfigError::of_origin(option, format!("{text:?}: {example}"))
            })?;
        Ok(Self {
            option,
            key: key.trim().into(),
            value: loose_value(value.trim()),
        })
    }
}

/// TOML where it is some, text where it is not.
fn loose_value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>();
    parsed
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.into()))
}

/// Which key was said where, for messages about keys that contradict each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    said: BTreeMap<String, Origin>,
    file: String,
}

impl Origins {
    /// Where `key` was said; where nothing was, the file that ought to have.
    pub(super) fn of(&self, key: &str) -> String {
        self.said
            .get(key)
            .map_or_else(|| self.file.clone(), Origin::to_string)
    }

    pub(super) fn said(&self, key: &str) -> bool {
        self.said.contains_key(key)
    }

    /// A complaint about `key`.
    pub(super) fn complain(&self, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::of_key(self.of(key), key, message)
    }
}

impl Config {
    /// Reads `file`, applies `assignments` in their order, and checks the whole.
    pub fn load(file: &Path, assignments: &[Assignment]) -> Result<Self, ConfigError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|e| ConfigError::of_origin(&name, e.to_string()))?;
        Self::parse(&name, &text, assignments)
    }

    /// The same from text that stands for the file `name`.
    pub fn parse(name: &str, text: &str, assignments: &[Assignment]) -> Result<Self, ConfigError> {
        let table: Table = text.parse().map_err(|e| syntax_error(name, text, &e))?;
        let mut config = Self::default();
        let mut origins = Origins {
            file: name.into(),
            ..Origins::default()
        };
        for (section, value) in &table {
            let Value::Table(keys) = value else {
                let message = format!("belongs into a section; they are {}", SECTION_NAMES.join(", "));
                return Err(ConfigError::of_key(name, section, message));
            };
            if !SECTION_NAMES.contains(&section.as_str()) {
                let message = format!("no such section; they are {}", SECTION_NAMES.join(", "));
                return Err(ConfigError::of_key(name, section, message));
            }
            for (key, value) in keys {
                config.assign(
                    &mut origins,
                    Origin::File(name.into()),
                    &format!("{section}.{key}"),
                    value,
                )?;
            }
        }
        for Assignment { option, key, value } in assignments {
            config.assign(&mut origins, Origin::Option(option), key, value)?;
        }
        config.check(&origins)?;
        Ok(config)
    }

    fn assign(
        &mut self,
        origins: &mut Origins,
        origin: Origin,
        path: &str,
        value: &Value,
    ) -> Result<(), ConfigError> {
        let refused = match path.split_once('.') {
            Some((section, key)) => self.set(section, key, value),
            None => Err(Refusal::Unknown),
        };
        match refused {
            Ok(()) => {
                origins.said.insert(path.into(), origin);
                Ok(())
            }
            Err(Refusal::Bad(message)) => Err(ConfigError::of_key(origin.to_string(), path, message)),
            Err(Refusal::Unknown) => {
                let message = match nearest(path) {
                    Some(near) => format!("no such key; did you mean {near}? (docs/CONFIG.md has them all)"),
                    None => "no such key (docs/CONFIG.md has them all)".into(),
                };
                Err(ConfigError::of_key(origin.to_string(), path, message))
            }
        }
    }
}

impl Faults {
    /// What assignments to keys of this section say, named with or without it.
    pub fn of(assignments: &[Assignment]) -> Result<Self, ConfigError> {
        let mut config = Config::default();
        for Assignment { option, key, value } in assignments {
            let path = match key.strip_prefix("faults.") {
                Some(_) => key.clone(),
                None => format!("faults.{key}"),
            };
            config.assign(&mut Origins::default(), Origin::Option(option), &path, value)?;
        }
        Ok(config.faults)
    }
}

macro_rules! dispatch {
    ($($field:ident : $ty:ty),+) => {
        /// The names of all sections.
        const SECTION_NAMES: &[&str] = &[$(<$ty as Section>::NAME,)+];

        impl Config {
            fn set(&mut self, section: &str, key: &str, value: &Value) -> Result<(), Refusal> {
                $(if section == <$ty as Section>::NAME {
                    return self.$field.set(key, value);
                })+
                Err(Refusal::Unknown)
            }

            /// Reads a key back by its dotted path; `None` where it is absent
            /// or where there is no such key.
            pub fn get(&self, path: &str) -> Option<Value> {
                let (section, key) = path.split_once('.')?;
                $(if section == <$ty as Section>::NAME {
                    return self.$field.get(key);
                })+
                None
            }

            /// The dotted paths of all keys.
            pub fn paths() -> Vec<String> {
                let mut paths = Vec::new();
                $(for key in <$ty as Section>::keys() {
                    paths.push(format!("{}.{}", <$ty as Section>::NAME, key.name));
                })+
                paths
            }
        }
    };
}
for_each_section!(dispatch);

fn syntax_error(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map(|span| {
        let before = &text.as_bytes()[..span.start.min(text.len())];
        before.iter().filter(|&&b| b == b'\n').count() + 1
    });
    let message = error.message().replace('\n', "; ");
    match line {
        Some(line) => ConfigError::of_origin(format!("{name}:{line}"), message),
        None => ConfigError::of_origin(name, message),
    }
}

/// The key that `path` is most likely a slip for.
fn nearest(path: &str) -> Option<String> {
    let wanted = path.rsplit('.').next().unwrap_or(path);
    Config::paths()
        .into_iter()
        .map(|candidate| {
            let name = candidate.rsplit('.').next().unwrap_or(&candidate);
            (
                edit_distance(path, &candidate).min(edit_distance(wanted, name) + 1),
                candidate,
            )
        })
        .min()
        .filter(|&(distance, _)| distance <= 1 + wanted.len() / 4)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be put in, taken out or changed to get from one to the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
