//! What the tool says at the start: `local=<ip>,remote=<ip>,gateway=<ip>,knobs=<file>`.

use std::net::IpAddr;
use std::path::PathBuf;

use crore_sim::posix::{Endpoints, HostError, KnobError, Knobs};
use thiserror::Error;

/// What the flags say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flags {
    pub(crate) endpoints: Endpoints,
    pub(crate) knobs: Option<PathBuf>,
}

/// Why there is no host.
#[derive(Debug, Error)]
pub(crate) enum InitError {
    #[error("\"{0}\" is none of local, remote, gateway and knobs")]
    Unknown(String),
    #[error("{key} is no address: \"{value}\"")]
    BadAddress { key: &'static str, value: String },
    #[error("local is missing")]
    NoLocal,
    #[error("remote {remote} and local {local} are not of one family")]
    Families { local: IpAddr, remote: IpAddr },
    #[error("{path}: {error}", path = .path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{path}: {error}", path = .path.display())]
    Knobs { path: PathBuf, error: KnobError },
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("the host's thread can't be started: {0}")]
    Thread(std::io::Error),
    #[error("the host's thread has gone")]
    Gone,
}

impl Flags {
    pub(crate) fn parse(text: &str) -> Result<Self, InitError> {
        let (mut local, mut remote, mut gateway, mut knobs) = (None, None, None, None);
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (key.trim(), value.trim());
            match key {
                "local" => local = Some(address("local", value)?),
                "remote" => remote = Some(address("remote", value)?),
                "gateway" => gateway = Some(address("gateway", value)?),
                "knobs" => knobs = Some(PathBuf::from(value)),
                _ => return Err(InitError::Unknown(key.to_owned())),
            }
        }
        let local = local.ok_or(InitError::NoLocal)?;
        if let Some(remote) = remote
            && remote.is_ipv4() != local.is_ipv4()
        {
            return Err(InitError::Families { local, remote });
        }
        Ok(Self {
            endpoints: Endpoints { local, gateway },
            knobs,
        })
    }

    /// The knobs of the file that is named, if one is.
    pub(crate) fn read_knobs(&self) -> Result<Knobs, InitError> {
        let Some(path) = &self.knobs else {
            return Ok(Knobs::default());
        };
        let text = std::fs::read_to_string(path).map_err(|error| InitError::Read {
            path: path.clone(),
            error,
        })?;
        Knobs::from_toml(&text).map_err(|error| InitError::Knobs {
            path: path.clone(),
            error,
        })
    }
}

/// An address; a prefix length or a netmask behind a slash is of no interest.
fn address(key: &'static str, value: &str) -> Result<IpAddr, InitError> {
    let ip = value.split('/').next().unwrap_or_default();
    ip.parse().map_err(|_| InitError::BadAddress {
        key,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_who_is_who() {
        let flags = Flags::parse("local=192.168.0.1,remote=192.0.2.1, gateway=192.168.0.2,knobs=/tmp/k.toml");
        let flags = flags.expect("all four");
        assert_eq!(flags.endpoints.local.to_string(), "192.168.0.1", "local");
        assert_eq!(
            flags.endpoints.gateway,
            Some("192.168.0.2".parse().unwrap()),
            "gateway"
        );
        assert_eq!(flags.knobs, Some(PathBuf::from("/tmp/k.toml")), "knobs");
        let flags = Flags::parse("local=fd3d::1").expect("one is enough");
        assert!(flags.endpoints.local.is_ipv6() && flags.knobs.is_none(), "IPv6");
    }

    #[test]
    fn wrong_flags_are_told_apart() {
        for (text, word) in [
            ("", "local is missing"),
            ("local=here", "no address"),
            ("local=192.0.2.1,colour=red", "colour"),
            ("local=192.0.2.1,remote=fd3d::1", "one family"),
        ] {
            let error = Flags::parse(text).expect_err(text).to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
        let missing = Flags::parse("local=192.0.2.1,knobs=/nonexistent/knobs").expect("well-formed");
        let error = missing.read_knobs().expect_err("no such file").to_string();
        assert!(error.contains("/nonexistent/knobs"), "{error}");
    }
}
