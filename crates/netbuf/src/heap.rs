//! A heap block with its reference count in front of the bytes.
//!
//! Always true: `refs` is the number of [`HeapOwner`]s that point to the block;
//! the last one frees it. The count is not atomic, which [`NonNull`]'s `!Send`
//! and `!Sync` make sound.

use core::cell::Cell;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};

/// What stands in front of the bytes. Aligned to 16, so that the bytes are too.
#[repr(C, align(16))]
struct Header {
    refs: Cell<u32>,
    capacity: u32,
}

const HEADER: usize = size_of::<Header>();

thread_local! {
    /// Blocks that this thread allocated and has not freed; blocks never travel.
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// Heap blocks that live on this thread: back to where it was when nothing leaks.
pub fn live_heap_blocks() -> usize {
    LIVE.get()
}

/// One counted reference to a heap block. Deliberately neither `Clone` nor
/// `Drop`: the chunk that holds it calls [`HeapOwner::retain`] and
/// [`HeapOwner::release`].
#[derive(Clone, Copy)]
pub(crate) struct HeapOwner(NonNull<Header>);

impl HeapOwner {
    /// Bytes that a block takes from the allocator beyond its capacity.
    pub(crate) const OVERHEAD: usize = HEADER;

    /// A block of `capacity` bytes, uninitialised, with one reference.
    pub(crate) fn allocate(capacity: u32) -> Self {
        let layout = Self::layout(capacity);
        // SAFETY: the layout's size is at least HEADER, hence not zero.
        let raw = unsafe { alloc(layout) };
        let Some(header) = NonNull::new(raw.cast::<Header>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the block was just allocated with Header's alignment and at
        // least its size, and nobody else knows it.
        unsafe {
            header.write(Header {
                refs: Cell::new(1),
                capacity,
            });
        }
        LIVE.set(LIVE.get() + 1);
        Self(header)
    }

    fn layout(capacity: u32) -> Layout {
        Layout::from_size_align(HEADER + capacity as usize, align_of::<Header>())
            .expect("a 32-bit capacity and a header fit the address space")
    }

    fn header(&self) -> &Header {
        // SAFETY: the block lives while a counted reference exists, and `self`
        // is one; the header is never borrowed mutably after `allocate`.
        unsafe { self.0.as_ref() }
    }

    /// The first byte behind the header; valid for reads of what was
    /// initialised and for writes by a sole owner.
    pub(crate) fn data(self) -> NonNull<u8> {
        // SAFETY: the block is HEADER + capacity bytes long, so that the result
        // is inside it or one past its end.
        unsafe { self.0.cast::<u8>().add(HEADER) }
    }

    /// The number of bytes behind the header.
    pub(crate) fn capacity(self) -> u32 {
        self.header().capacity
    }

    /// Whether this is the only reference.
    pub(crate) fn is_sole(self) -> bool {
        self.header().refs.get() == 1
    }

    /// Adds a reference.
    pub(crate) fn retain(self) {
        let refs = &self.header().refs;
        let Some(more) = refs.get().checked_add(1) else {
            // Only leaked references (mem::forget) get here; a wrapped count
            // would free bytes in use.
            std::process::abort()
        };
        refs.set(more);
    }

    /// Gives a reference back.
    ///
    /// # Safety
    /// The caller held a counted reference, gives it up by this call, and uses
    /// none of its copies afterwards.
    pub(crate) unsafe fn release(self) {
        let header = self.header();
        let refs = header.refs.get();
        if refs != 1 {
            header.refs.set(refs - 1);
            return;
        }
        let layout = Self::layout(header.capacity);
        LIVE.set(LIVE.get() - 1);
        // SAFETY: allocated in `allocate` with this very layout; by the caller's
        // promise this was the last reference.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) }
    }

    /// The owner as an opaque pointer, to be turned back by [`Self::from_opaque`].
    pub(crate) fn into_opaque(self) -> NonNull<()> {
        self.0.cast()
    }

    /// # Safety
    /// `opaque` came from [`Self::into_opaque`] and a counted reference to the
    /// block still exists.
    pub(crate) unsafe fn from_opaque(opaque: NonNull<()>) -> Self {
        Self(opaque.cast())
    }
}
