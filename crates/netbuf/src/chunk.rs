//! A cheap view of bytes that somebody owns.
//!
//! Always true: `len` bytes from `ptr` are initialised and stay unchanged while
//! any view of the owner exists, except that a sole view may write behind its
//! own end; each `Chunk` with an owner holds exactly one counted reference.

use core::fmt;
use core::mem;
use core::ops::{Deref, Range};
use core::ptr::NonNull;
use core::slice;

use crate::heap::HeapOwner;

/// A view of bytes in a heap block, in a packet buffer, or in the program.
///
/// Cloning and cutting share the owner: no copy, no allocation. The owner is
/// given back when its last view drops.
pub struct Chunk {
    ptr: NonNull<u8>,
    /// None for static bytes; else a heap block (no vtable) or a foreign buffer.
    owner: Option<NonNull<()>>,
    vtable: Option<&'static ExternalVtable>,
    /// As wide as the others: what is written narrow and moved wide is waited for.
    len: usize,
}

const _: () = assert!(size_of::<Chunk>() == 32);

/// How a foreign owner (an mbuf) counts its views.
pub struct ExternalVtable {
    /// One more view.
    pub retain: unsafe fn(NonNull<()>),
    /// One view less; the last one gives the buffer back.
    pub release: unsafe fn(NonNull<()>),
    /// Bytes of the whole buffer, which any view pins.
    pub footprint: u32,
}

impl Chunk {
    /// No bytes, no owner.
    pub const fn empty() -> Self {
        Self::from_static(&[])
    }

    /// Bytes of the program itself.
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        // SAFETY: a reference's pointer is never null.
        let ptr = unsafe { NonNull::new_unchecked(bytes.as_ptr().cast_mut()) };
        Self {
            ptr,
            owner: None,
            vtable: None,
            len: bytes.len(),
        }
    }

    /// A heap block that holds a copy of `bytes` and has no room for more.
    pub fn copy_from(bytes: &[u8]) -> Self {
        let mut chunk = Self::with_capacity(bytes.len());
        chunk.try_extend(bytes);
        chunk
    }

    /// An empty heap block with room for `capacity` bytes (less than 4 GiB, or
    /// it panics), to be filled by [`Self::try_extend`].
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = u32::try_from(capacity).expect("a block is shorter than 4 GiB");
        if capacity == 0 {
            return Self::empty();
        }
        let owner = HeapOwner::allocate(capacity);
        Self {
            ptr: owner.data(),
            owner: Some(owner.into_opaque()),
            vtable: None,
            len: 0,
        }
    }

    /// A view of a foreign buffer.
    ///
    /// # Safety
    /// `len` bytes from `ptr` are initialised, and nobody
    /// writes to them until the last view was released. The call hands over one
    /// counted reference to `owner`; `vtable.retain` adds one, and
    /// `vtable.release` gives one back. Both may be called on this thread at
    /// any time, must not panic, and must not re-enter the chunk.
    pub unsafe fn from_external(
        ptr: *const u8,
        len: usize,
        owner: NonNull<()>,
        vtable: &'static ExternalVtable,
    ) -> Self {
        debug_assert!(!ptr.is_null(), "the caller's promise");
        Self {
            // SAFETY: bytes that can be read do not lie at null (caller's promise).
            ptr: unsafe { NonNull::new_unchecked(ptr.cast_mut()) },
            owner: Some(owner),
            vtable: Some(vtable),
            len,
        }
    }

    /// Appends what fits of `data` behind this view, and says how much that was.
    /// Nothing fits unless this is the only view of a heap block.
    pub fn try_extend(&mut self, data: &[u8]) -> usize {
        let count = self.spare_capacity().min(data.len());
        // SAFETY: spare_capacity() found that the `count` bytes behind this view
        // lie inside a heap block that no other view shares, and `&mut self`
        // excludes a borrow of this one. `data` therefore cannot overlap them:
        // they are unborrowed, or were never initialised. `ptr` was derived
        // from the whole block's pointer.
        unsafe {
            let end = self.ptr.as_ptr().add(self.len);
            core::ptr::copy_nonoverlapping(data.as_ptr(), end, count);
        }
        self.len += count;
        count
    }

    /// How many bytes [`Self::try_extend`] would take now.
    pub fn spare_capacity(&self) -> usize {
        match self.heap() {
            Some(heap) if heap.is_sole() => {
                let block_end = heap.data().as_ptr() as usize + heap.capacity() as usize;
                block_end - (self.ptr.as_ptr() as usize + self.len)
            }
            _ => 0,
        }
    }

    /// Length in bytes.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes in view.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A view of the bytes in `range`, which must lie inside this one (else it
    /// panics). An empty one pins nothing.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "slice {range:?} of a chunk of {}",
            self.len
        );
        if range.is_empty() {
            return Self::empty();
        }
        let mut view = self.clone();
        view.advance(range.start);
        view.truncate(range.end - range.start);
        view
    }

    /// Drops the first `n` bytes from view; panics when there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advance {n} in a chunk of {}", self.len);
        // SAFETY: inside the view or one past its end, by the assertion.
        self.ptr = unsafe { self.ptr.add(n) };
        self.len -= n;
    }

    /// Keeps the first `n` bytes in view; all of them when there are fewer.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        self.len = self.len.min(n);
    }

    /// This view narrowed to the bytes in `range`, which must lie inside it
    /// (else it panics).
    #[inline]
    pub fn into_slice(self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "slice {range:?} of a chunk of {}",
            self.len
        );
        // The reference passes on; the parts go one by one, since what is written in
        // parts and then moved whole is waited for.
        let this = mem::ManuallyDrop::new(self);
        Self {
            // SAFETY: inside the view or one past its end, by the assertion.
            ptr: unsafe { this.ptr.add(range.start) },
            owner: this.owner,
            vtable: this.vtable,
            len: range.end - range.start,
        }
    }

    /// Cuts the first `n` bytes off into a view of their own; panics when there
    /// are fewer.
    pub fn split_to(&mut self, n: usize) -> Self {
        assert!(n <= self.len(), "split at {n} a chunk of {}", self.len);
        if n == self.len() {
            return mem::take(self);
        }
        let head = self.slice(0..n);
        self.advance(n);
        head
    }

    /// Bytes of memory that this view pins: the whole of the owner's buffer,
    /// however few of them are in view; 0 for static bytes.
    #[inline]
    pub fn footprint(&self) -> usize {
        match (self.owner, self.vtable) {
            (None, _) => 0,
            (Some(_), Some(vtable)) => vtable.footprint as usize,
            (Some(_), None) => self.heap().map_or(0, |heap| heap.capacity() as usize),
        }
    }

    /// Whether this view pins a packet buffer of a NIC's pool.
    pub const fn is_external(&self) -> bool {
        self.vtable.is_some()
    }

    /// The bytes in view.
    #[inline]
    pub const fn as_slice(&self) -> &[u8] {
        // SAFETY: the module's invariant: `len` initialised bytes that nobody
        // writes to while this view exists.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    #[inline]
    fn heap(&self) -> Option<HeapOwner> {
        match (self.owner, self.vtable) {
            // SAFETY: an owner without a vtable was set from a HeapOwner in
            // `with_capacity` (or copied from such a chunk by `clone`, with a
            // reference of its own), and this chunk holds a counted reference.
            (Some(owner), None) => Some(unsafe { HeapOwner::from_opaque(owner) }),
            _ => None,
        }
    }
}

impl Clone for Chunk {
    #[inline]
    fn clone(&self) -> Self {
        match (self.owner, self.vtable) {
            // SAFETY: this chunk holds a counted reference to the owner, so that
            // it is alive; the new one is the clone's.
            (Some(owner), Some(vtable)) => unsafe { (vtable.retain)(owner) },
            _ => {
                if let Some(heap) = self.heap() {
                    heap.retain();
                }
            }
        }
        Self {
            ptr: self.ptr,
            owner: self.owner,
            vtable: self.vtable,
            len: self.len,
        }
    }
}

impl Drop for Chunk {
    #[inline]
    fn drop(&mut self) {
        match (self.owner, self.vtable) {
            // SAFETY: gives back the one reference that this chunk holds; it
            // can't be used again after drop.
            (Some(owner), Some(vtable)) => unsafe { (vtable.release)(owner) },
            _ => {
                if let Some(heap) = self.heap() {
                    // SAFETY: as above.
                    unsafe { heap.release() }
                }
            }
        }
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::empty()
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Chunk {}

impl PartialEq<[u8]> for Chunk {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl PartialEq<&[u8]> for Chunk {
    fn eq(&self, other: &&[u8]) -> bool {
        **self == **other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Chunk {
    fn eq(&self, other: &[u8; N]) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Chunk {
    fn eq(&self, other: &&[u8; N]) -> bool {
        **self == **other
    }
}

impl PartialEq<Vec<u8>> for Chunk {
    fn eq(&self, other: &Vec<u8>) -> bool {
        **self == **other
    }
}

impl From<&'static str> for Chunk {
    fn from(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

/// The length, the owner's kind and the first bytes: a megabyte in a failed
/// assertion helps nobody.
impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        let kind = match (self.owner, self.vtable) {
            (None, _) => "static",
            (Some(_), None) => "heap",
            (Some(_), Some(_)) => "external",
        };
        write!(f, "Chunk({kind}, {} bytes:", self.len)?;
        for byte in self.iter().take(SHOWN) {
            write!(f, " {byte:02x}")?;
        }
        f.write_str(if self.len() > SHOWN { " ..)" } else { ")" })
    }
}

#[cfg(test)]
mod tests;
