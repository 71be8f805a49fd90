//! What is wrong with a configuration, in one line.

use std::fmt;

/// One complaint: where it was said, which key, what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file, or the command line's option, that holds the mistake.
    pub origin: String,
    /// The dotted key, where the mistake belongs to one.
    pub key: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl ConfigError {
    /// A complaint about one key.
    pub fn of_key(origin: impl Into<String>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            key: Some(key.into()),
            message: message.into(),
        }
    }

    /// A complaint about a whole file or option.
    pub fn of_origin(origin: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            key: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.origin, self.message),
            None => write!(f, "{}: {}", self.origin, self.message),
        }
    }
}
