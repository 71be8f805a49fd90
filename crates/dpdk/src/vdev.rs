//! Devices that EAL makes in software.

use core::fmt;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// A device made in software, as EAL's `--vdev` takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vdev {
    pub(crate) name: String,
    pub(crate) arguments: String,
    /// Whether it lays packet buffers open to another process, which EAL can do
    /// only for huge pages.
    pub(crate) needs_huge_pages: bool,
    /// The Unix socket that it makes and listens on.
    pub(crate) listens_on: Option<PathBuf>,
}

impl Vdev {
    /// A device by its name (`net_null0`) and arguments (`size=64,copy=1`), both handed
    /// on as they are.
    pub fn new(name: &str, arguments: &str) -> Self {
        Self {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            needs_huge_pages: false,
            listens_on: None,
        }
    }

    pub(crate) fn needs_huge_pages(&self) -> bool {
        self.needs_huge_pages
    }

    /// Removes the socket that a killed process left where this device wants to make
    /// its own. Only a socket, and only one that nobody listens on.
    pub(crate) fn clear_stale_socket(&self) {
        let Some(path) = &self.listens_on else { return };
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        // A listener answers, if only (memif) that it speaks another type of socket.
        let refused = || {
            UnixStream::connect(path)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        };
        if is_socket && refused() {
            log::debug!("removing {}, on which nobody listens", path.display());
            let _ = std::fs::remove_file(path);
        }
    }

    /// The port's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Vdev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.arguments.as_str() {
            "" => f.write_str(&self.name),
            arguments => write!(f, "{},{arguments}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_servers_socket_makes_room_and_a_live_ones_stays() {
        let path = std::env::temp_dir().join(format!("crore-stale-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let clear = |client: bool| {
            let mut vdev = Vdev::new("net_vhost0", "");
            vdev.listens_on = (!client).then(|| path.clone());
            vdev.clear_stale_socket();
        };
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        clear(false);
        assert!(path.exists(), "somebody listens");
        drop(listener);
        clear(true);
        assert!(path.exists(), "a client makes no socket, so it removes none");
        clear(false);
        assert!(!path.exists(), "nobody listens");
        std::fs::write(&path, "not a socket").expect("a file");
        clear(false);
        assert!(path.exists(), "a file is none of our business");
        std::fs::remove_file(&path).expect("clean up");
    }
}
