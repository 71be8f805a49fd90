//! From a request's target to an open file below the root.
//!
//! Always true: a file that is opened lies below the root after all symbolic
//! links are followed, and is a regular file. It is asked of the path before it
//! is opened (so that no device is touched) and of the open file afterwards (so
//! that a link that changes in between wins nothing).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::reply::Status;

/// The directory below which everything is served.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

/// A file that may be sent.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: File,
    pub(super) length: u64,
    pub(super) kind: &'static str,
}

impl Root {
    /// The root at `path`, which must be a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let real = path.canonicalize()?;
        if real.is_dir() {
            Ok(Self(real))
        } else {
            Err(ErrorKind::NotADirectory.into())
        }
    }

    /// The file that `target` names; a directory stands for its `index.html`.
    pub(super) fn find(&self, target: &[u8]) -> Result<Found, Status> {
        let mut path = self
            .0
            .join(decode(target)?)
            .canonicalize()
            .map_err(|e| status_of(&e))?;
        if path.is_dir() {
            path = path
                .join("index.html")
                .canonicalize()
                .map_err(|e| status_of(&e))?;
        }
        if !path.starts_with(&self.0) || !path.is_file() {
            return Err(Status::NotFound);
        }
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|e| status_of(&e))?;
        let opened = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if !opened.is_ok_and(|real| real.starts_with(&self.0)) {
            return Err(Status::NotFound);
        }
        let meta = file.metadata().map_err(|e| status_of(&e))?;
        if !meta.is_file() {
            return Err(Status::NotFound);
        }
        Ok(Found {
            file,
            length: meta.len(),
            kind: kind_of(&path),
        })
    }
}

/// The relative path that a target names: without query, percent signs resolved.
fn decode(target: &[u8]) -> Result<PathBuf, Status> {
    let path = match target {
        [b'/', ..] => target,
        // Absolute form: what follows the authority.
        _ => {
            let after = target.get(7..).unwrap_or(&[]);
            let slash = after.iter().position(|&b| b == b'/').unwrap_or(after.len());
            &after[slash..]
        }
    };
    let end = path
        .iter()
        .position(|&b| b == b'?' || b == b'#')
        .unwrap_or(path.len());
    let mut bytes = Vec::with_capacity(end);
    let mut rest = &path[..end];
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else {
            return Err(Status::BadRequest);
        };
        let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
        match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(Status::BadRequest),
        }
        rest = tail;
    }
    let text = String::from_utf8(bytes).map_err(|_| Status::NotFound)?;
    if text.contains('\0') {
        return Err(Status::BadRequest);
    }
    let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
    let mut relative = PathBuf::new();
    for part in parts {
        if part == ".." {
            return Err(Status::NotFound);
        }
        relative.push(part);
    }
    Ok(relative)
}

fn status_of(error: &io::Error) -> Status {
    match error.kind() {
        ErrorKind::PermissionDenied => Status::Forbidden,
        _ if matches!(
            error.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
        ) =>
        {
            Status::Unavailable
        }
        _ => Status::NotFound,
    }
}

fn kind_of(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "txt" | "md" | "toml" | "rs" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        "gz" => "application/gzip",
        "zip" => "application/zip",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}
