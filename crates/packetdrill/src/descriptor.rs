//! Real descriptors of the process for the host's file numbers.
//!
//! The tool closes descriptors with libc when it cleans up, so they must be open
//! ones, and those that are still open at the end may be somebody else's by then.
//! So each is an anonymous file of its own, which can be told from all others by
//! its inode.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use crore_sim::posix::{Errno, Fd};

/// Which descriptor stands for which file of the host.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    open: BTreeMap<RawFd, Descriptor>,
}

#[derive(Clone, Copy, Debug)]
struct Descriptor {
    file: Fd,
    identity: Identity,
}

/// Device and inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Identity(libc::dev_t, libc::ino_t);

impl Descriptors {
    /// A descriptor for a file. Second, the file whose descriptor had the same
    /// number and was closed behind our back, if there is one.
    pub(crate) fn open(&mut self, file: Fd) -> Result<(RawFd, Option<Fd>), Errno> {
        // SAFETY: the name is a string that ends in a NUL.
        let fd = unsafe { libc::memfd_create(c"crore".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(last_error());
        }
        let Some(identity) = identity(fd) else {
            close(fd);
            return Err(Errno(libc::EMFILE));
        };
        let old = self.open.insert(fd, Descriptor { file, identity });
        Ok((fd, old.map(|old| old.file)))
    }

    /// The file that a descriptor stands for.
    pub(crate) fn file(&self, fd: RawFd) -> Option<Fd> {
        self.open.get(&fd).map(|descriptor| descriptor.file)
    }

    /// Closes a descriptor, if it is one of ours and still open.
    pub(crate) fn close(&mut self, fd: RawFd) {
        if let Some(descriptor) = self.open.remove(&fd)
            && identity(fd) == Some(descriptor.identity)
        {
            close(fd);
        }
    }

    /// Closes all.
    pub(crate) fn close_all(&mut self) {
        while let Some((&fd, _)) = self.open.first_key_value() {
            self.close(fd);
        }
    }
}

fn identity(fd: RawFd) -> Option<Identity> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` is room for one; any number may be asked about.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: fstat has succeeded, and has filled it in.
    let stat = unsafe { stat.assume_init() };
    Some(Identity(stat.st_dev, stat.st_ino))
}

/// Closes a descriptor that was just seen to be ours.
fn close(fd: RawFd) {
    // SAFETY: it is one that `open` made and that nobody has closed since; nobody
    // else owns it.
    unsafe { libc::close(fd) };
}

fn last_error() -> Errno {
    Errno(
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Numbers are the process's: one test at a time.
    static NUMBERS: Mutex<()> = Mutex::new(());

    #[test]
    fn what_is_closed_behind_our_back_is_not_closed_again() {
        let _alone = NUMBERS.lock();
        let mut descriptors = Descriptors::default();
        let (ours, _) = descriptors.open(7).expect("a descriptor");
        assert_eq!(descriptors.file(ours), Some(7), "it stands for the file");
        close(ours);
        // Whoever opens something now gets the same number.
        let theirs = std::fs::File::open("/dev/null").expect("it exists");
        let theirs = std::os::fd::IntoRawFd::into_raw_fd(theirs);
        assert_eq!(theirs, ours, "the lowest that is free");
        descriptors.close_all();
        assert!(identity(theirs).is_some(), "it was not ours to close");
        close(theirs);
    }

    #[test]
    fn a_number_that_comes_again_gives_the_old_file_up() {
        let _alone = NUMBERS.lock();
        let mut descriptors = Descriptors::default();
        let (first, _) = descriptors.open(7).expect("a descriptor");
        close(first);
        let (second, old) = descriptors.open(8).expect("a descriptor");
        assert_eq!((second, old), (first, Some(7)), "the same number");
        descriptors.close_all();
        assert_eq!(identity(second), None, "closed");
    }
}
