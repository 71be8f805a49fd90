//! Memory for one array: huge pages if they can be had, else what comes near.
//!
//! Always true: a region belongs to one array; it is given back in the way in
//! which it was taken; its bytes are zero at first.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::LazyLock;

use thiserror::Error;

/// Below this size huge pages are not worth one: in bytes.
const SMALL: usize = 1 << 20;

/// Which pages an array lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// Reserved huge pages (hugetlbfs).
    Huge,
    /// Ordinary memory that the kernel was asked to back by huge pages.
    Transparent,
    /// Ordinary pages.
    Ordinary,
}

/// Memory can't be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("no memory for {entries} entries of {size} bytes")]
pub struct MemoryError {
    /// How many were wanted.
    pub entries: usize,
    /// Of how many bytes each.
    pub size: usize,
}

/// From where a region came, and so how it goes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    HugePages,
    Mapping,
    Heap,
}

/// Memory for `layout`.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    layout: Layout,
    source: Source,
    pages: Pages,
}

impl Region {
    /// Zeroed memory of `layout`, whose size is not zero.
    pub(crate) fn new(layout: Layout) -> Option<Self> {
        debug_assert!(layout.size() > 0, "asked by the caller");
        if layout.size() < SMALL {
            return Self::ordinary(layout);
        }
        Self::huge(layout)
            .or_else(|| Self::transparent(layout))
            .or_else(|| Self::ordinary(layout))
    }

    fn huge(layout: Layout) -> Option<Self> {
        // The allocator panics where the kernel knows no huge pages.
        static KNOWN: LazyLock<bool> = LazyLock::new(|| {
            std::fs::read_to_string("/proc/meminfo").is_ok_and(|info| info.contains("Hugepagesize:"))
        });
        if !*KNOWN {
            return None;
        }
        // SAFETY: any layout may be asked for; a null pointer says that there is none.
        let start = unsafe { hugepage_rs::alloc(layout) };
        Some(Self {
            start: NonNull::new(start)?,
            layout,
            source: Source::HugePages,
            pages: Pages::Huge,
        })
    }

    fn transparent(layout: Layout) -> Option<Self> {
        const PAGE: usize = 4096;
        if layout.align() > PAGE {
            return None;
        }
        // SAFETY: a new private mapping of its own, at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                layout.size(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: advice on the mapping just made; refused, it changes nothing.
        let advised = unsafe { libc::madvise(start, layout.size(), libc::MADV_HUGEPAGE) } == 0;
        Some(Self {
            start: NonNull::new(start.cast())?,
            layout,
            source: Source::Mapping,
            pages: if advised {
                Pages::Transparent
            } else {
                Pages::Ordinary
            },
        })
    }

    fn ordinary(layout: Layout) -> Option<Self> {
        // SAFETY: the size is not zero.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        Some(Self {
            start: NonNull::new(start)?,
            layout,
            source: Source::Heap,
            pages: Pages::Ordinary,
        })
    }

    /// Where it begins, aligned as its layout says.
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) const fn pages(&self) -> Pages {
        self.pages
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let (start, layout) = (self.start.as_ptr(), self.layout);
        match self.source {
            // SAFETY: it came from this allocator with this layout, and nobody has it any more.
            Source::HugePages => unsafe { hugepage_rs::dealloc(start, layout) },
            // SAFETY: a mapping of our own of this size; refused, it would only stay.
            Source::Mapping => unsafe {
                libc::munmap(start.cast(), layout.size());
            },
            // SAFETY: as for huge pages.
            Source::Heap => unsafe { std::alloc::dealloc(start, layout) },
        }
    }
}
