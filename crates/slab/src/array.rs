//! An array that never moves and never grows beyond its capacity.
//!
//! Always true: entries `0..len` were written; the memory for all of them was
//! got at once, and what was never written is never touched.

use std::alloc::Layout;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::region::Region;
use crate::{MemoryError, Pages};

/// Bytes that come into a cache together.
const CACHE_LINE: usize = 64;

/// Up to a fixed number of entries in one piece of memory, in huge pages where
/// it is large. Entries need no destructor.
#[derive(Debug)]
pub struct HugeVec<T: Copy> {
    start: NonNull<T>,
    len: usize,
    capacity: usize,
    /// What `start` points into; none where there is nothing to hold.
    region: Option<Region>,
}

impl<T: Copy> HugeVec<T> {
    /// An empty array for up to `capacity` entries.
    pub fn with_capacity(capacity: usize) -> Result<Self, MemoryError> {
        let error = MemoryError {
            entries: capacity,
            size: size_of::<T>(),
        };
        let layout = Layout::array::<T>(capacity).map_err(|_| error)?;
        if layout.size() == 0 {
            return Ok(Self {
                start: NonNull::dangling(),
                len: 0,
                capacity,
                region: None,
            });
        }
        let region = Region::new(layout).ok_or(error)?;
        Ok(Self {
            start: region.start().cast(),
            len: 0,
            capacity,
            region: Some(region),
        })
    }

    /// An array of `len` entries, all of them `value`.
    pub fn filled(value: T, len: usize) -> Result<Self, MemoryError> {
        let mut array = Self::with_capacity(len)?;
        for _ in 0..len {
            array.push(value);
        }
        Ok(array)
    }

    /// Appends an entry; gives it back when the array is full.
    pub fn push(&mut self, value: T) -> Option<T> {
        if self.len == self.capacity {
            return Some(value);
        }
        // SAFETY: `len < capacity`, so the place lies within the region, which is
        // aligned for `T`; nobody else has a reference to it, since `&mut self`.
        unsafe { self.start.add(self.len).write(value) };
        self.len += 1;
        None
    }

    /// How many entries fit.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of memory for all entries that fit.
    pub const fn bytes(&self) -> usize {
        self.capacity * size_of::<T>()
    }

    /// Which pages it lies in.
    pub fn pages(&self) -> Pages {
        self.region.as_ref().map_or(Pages::Ordinary, Region::pages)
    }

    /// Brings the cache line with the beginning of an entry nearer, without
    /// waiting for it. Does nothing for an entry that is not there.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        if index < self.len {
            // SAFETY: the place lies within the region; a prefetch has no effect
            // that could be observed anyway.
            unsafe { prefetch(self.start.add(index).as_ptr().cast()) };
        }
    }
}

/// Brings all cache lines of a value nearer, without waiting for them.
#[inline]
pub fn prefetch_all<T>(value: &T) {
    let start = core::ptr::from_ref(value).cast::<u8>();
    for offset in (0..size_of::<T>()).step_by(CACHE_LINE) {
        // SAFETY: within the value; a prefetch has no effect that could be observed anyway.
        unsafe { prefetch(start.add(offset)) };
    }
}

/// # Safety
/// None is needed of the address; the intrinsic is unsafe by its signature.
#[inline(always)]
unsafe fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching reads nothing that the program could see, from any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

impl<T: Copy> Deref for HugeVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` entries from `start` on were written and are borrowed with `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for HugeVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, PartialEq, Debug)]
    #[repr(align(64))]
    struct Line(u64);

    #[test]
    fn an_array_takes_as_many_as_it_was_made_for_and_no_more() {
        for capacity in [0, 1, 100, 40_000] {
            let mut array = HugeVec::with_capacity(capacity).expect("that much memory is there");
            for i in 0..capacity as u64 {
                assert_eq!(array.push(Line(i)), None, "there is room");
            }
            assert_eq!(array.push(Line(7)), Some(Line(7)), "there is none");
            array.prefetch(capacity);
            array.prefetch(0);
            assert!(array.iter().enumerate().all(|(i, line)| line.0 == i as u64));
            assert_eq!(array.as_ptr() as usize % 64, 0, "aligned");
            assert!(array.bytes() >= 64 * capacity, "what it costs");
        }
    }

    #[test]
    fn what_no_machine_has_is_an_error_and_no_abort() {
        assert!(
            HugeVec::<Line>::with_capacity(usize::MAX / 2).is_err(),
            "overflow"
        );
        assert!(HugeVec::<Line>::with_capacity(1 << 50).is_err(), "64 PiB");
    }

    #[test]
    fn entries_of_no_size_need_no_memory() {
        let mut array = HugeVec::with_capacity(3).expect("nothing is needed");
        for _ in 0..3 {
            assert_eq!(array.push(()), None);
        }
        assert_eq!((array.len(), array.push(())), (3, Some(())), "full all the same");
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_vec(writes in proptest::collection::vec((0usize..50_000, any::<u64>()), 0..200)) {
            let mut array = HugeVec::filled(Line(1), 50_000).expect("3 MiB");
            let mut model = vec![Line(1); 50_000];
            for (index, value) in writes {
                array[index] = Line(value);
                model[index] = Line(value);
            }
            prop_assert_eq!(&array[..], &model[..]);
        }
    }
}
