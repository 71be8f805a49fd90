//! Packet buffers, each in one place at a time.

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};
use std::sync::Mutex;

use crore_netbuf::{Chunk, ExternalVtable};
use dpdk_sys::rte_mbuf;

use crate::mempool::Mempool;

/// Frames in one burst.
pub(crate) const BURST: usize = crore_nic::BURST;

/// Reads a field of an mbuf that lies at `offset`.
///
/// # Safety
/// `mbuf` points to a live mbuf, and `offset` is a `CRORE_MBUF_*` constant of a
/// field of type `T`.
unsafe fn field<T: Copy>(mbuf: NonNull<rte_mbuf>, offset: u32) -> T {
    // SAFETY: by this function's own terms; the field is aligned in the C structure.
    unsafe { mbuf.cast::<u8>().add(offset as usize).cast::<T>().read() }
}

/// Writes a field of an mbuf; [`field`]'s terms, and nobody else uses the mbuf.
///
/// # Safety
/// As for [`field`].
unsafe fn set_field<T: Copy>(mbuf: NonNull<rte_mbuf>, offset: u32, value: T) {
    // SAFETY: by this function's own terms.
    unsafe { mbuf.cast::<u8>().add(offset as usize).cast::<T>().write(value) }
}

/// The start of an mbuf's data, and the bytes from there to the end of its buffer.
///
/// # Safety
/// `mbuf` points to a live mbuf.
pub(crate) unsafe fn data_room(mbuf: NonNull<rte_mbuf>) -> (NonNull<u8>, usize) {
    // SAFETY: constants of fields of these types; the mbuf is live.
    unsafe {
        let buffer: NonNull<u8> = field(mbuf, dpdk_sys::CRORE_MBUF_BUF_ADDR);
        let offset: u16 = field(mbuf, dpdk_sys::CRORE_MBUF_DATA_OFF);
        let length: u16 = field(mbuf, dpdk_sys::CRORE_MBUF_BUF_LEN);
        (
            buffer.add(offset.into()),
            usize::from(length.saturating_sub(offset)),
        )
    }
}

/// Makes a fresh mbuf one frame of `len` bytes with these offload words.
///
/// # Safety
/// `mbuf` is live, has one segment and one owner, and `len` fits [`data_room`].
pub(crate) unsafe fn finish(mbuf: NonNull<rte_mbuf>, len: u16, ol_flags: u64, tx_offload: u64) {
    // SAFETY: constants of fields of these types; the caller owns the mbuf.
    unsafe {
        set_field(mbuf, dpdk_sys::CRORE_MBUF_DATA_LEN, len);
        set_field(mbuf, dpdk_sys::CRORE_MBUF_PKT_LEN, u32::from(len));
        set_field(mbuf, dpdk_sys::CRORE_MBUF_OL_FLAGS, ol_flags);
        set_field(mbuf, dpdk_sys::CRORE_MBUF_TX_OFFLOAD, tx_offload);
    }
}

/// Hangs `next` behind `last`, the last segment of the frame that begins with
/// `head`, as `len` bytes more of it.
///
/// # Safety
/// All three are live and the caller's; `next` is fresh, and `len` fits its
/// [`data_room`].
pub(crate) unsafe fn append(
    head: NonNull<rte_mbuf>,
    last: NonNull<rte_mbuf>,
    next: NonNull<rte_mbuf>,
    len: u16,
) {
    // SAFETY: by this function's own terms.
    unsafe { dpdk_sys::crore_append(head.as_ptr(), last.as_ptr(), next.as_ptr(), len) };
}

/// Gives the frame that begins with `head` these offload words.
///
/// # Safety
/// `head` is live, and the caller's.
pub(crate) unsafe fn offload(head: NonNull<rte_mbuf>, ol_flags: u64, tx_offload: u64) {
    // SAFETY: constants of fields of these types; the caller owns the mbuf.
    unsafe {
        set_field(head, dpdk_sys::CRORE_MBUF_OL_FLAGS, ol_flags);
        set_field(head, dpdk_sys::CRORE_MBUF_TX_OFFLOAD, tx_offload);
    }
}

/// A packet buffer with one owner. Given back to its pool on drop.
#[repr(transparent)]
pub struct Mbuf(NonNull<rte_mbuf>);

impl Mbuf {
    /// An empty buffer; `None` when the pool is dry.
    pub fn new(pool: &Mempool) -> Option<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: the pool is live; room for one pointer.
        let status = unsafe { dpdk_sys::crore_alloc_bulk(pool.raw(), &mut raw, 1) };
        if status != 0 {
            return None;
        }
        NonNull::new(raw).map(Self)
    }

    /// A buffer with this frame; `None` when the pool is dry or the frame is longer
    /// than a buffer.
    pub fn from_frame(pool: &Mempool, frame: &[u8]) -> Option<Self> {
        let mut mbuf = Self::new(pool)?;
        mbuf.set_len(frame.len()).then(|| {
            mbuf.copy_from_slice(frame);
            mbuf
        })
    }

    /// Sets the length of the (only) segment; false when it does not fit.
    pub fn set_len(&mut self, len: usize) -> bool {
        // SAFETY: `self` owns a live mbuf.
        let (_, room) = unsafe { data_room(self.0) };
        if len > room || !self.is_contiguous() {
            return false;
        }
        // SAFETY: owned, one segment, and `len` fits (so it fits 16 bits as well).
        unsafe { finish(self.0, len as u16, 0, 0) };
        true
    }

    /// Bytes of the whole frame, all segments.
    pub fn frame_len(&self) -> usize {
        // SAFETY: a field of this type of a live mbuf.
        unsafe { field::<u32>(self.0, dpdk_sys::CRORE_MBUF_PKT_LEN) as usize }
    }

    /// Whether the whole frame lies in this one segment.
    pub fn is_contiguous(&self) -> bool {
        // SAFETY: a field of this type of a live mbuf.
        unsafe { field::<u16>(self.0, dpdk_sys::CRORE_MBUF_NB_SEGS) == 1 }
    }

    /// The frame as a chunk that shares this buffer; a frame of several segments is
    /// copied into one.
    pub fn into_chunk(self) -> Chunk {
        if !self.is_contiguous() {
            return copy_chain(self.0, self.frame_len());
        }
        let (data, len) = (self.as_ptr(), self.len());
        // SAFETY: a field of this type of a live mbuf.
        let size = unsafe { field::<u16>(self.0, dpdk_sys::CRORE_MBUF_BUF_LEN) };
        let raw = self.into_raw();
        // SAFETY: the mbuf's one reference passes to the chunk, whose vtable counts and
        // frees mbufs; the bytes stay where they are until the last reference goes.
        unsafe { Chunk::from_external(data, len, raw.cast(), vtable(size)) }
    }

    pub(crate) fn into_raw(self) -> NonNull<rte_mbuf> {
        let raw = self.0;
        core::mem::forget(self);
        raw
    }
}

/// The first segment's bytes.
impl Deref for Mbuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: a live mbuf's data: data_off + data_len <= buf_len is what every
        // driver and `set_len` keep; shared for as long as `self` is borrowed.
        unsafe {
            let (data, _) = data_room(self.0);
            let len: u16 = field(self.0, dpdk_sys::CRORE_MBUF_DATA_LEN);
            core::slice::from_raw_parts(data.as_ptr(), len.into())
        }
    }
}

impl DerefMut for Mbuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `self` is the buffer's only owner, since chunks take
        // it by value and nothing of ours sends a buffer that is still counted.
        unsafe {
            let (data, _) = data_room(self.0);
            let len: u16 = field(self.0, dpdk_sys::CRORE_MBUF_DATA_LEN);
            core::slice::from_raw_parts_mut(data.as_ptr(), len.into())
        }
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: `self` owns one reference to a live mbuf.
        unsafe { dpdk_sys::crore_free(self.0.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("frame_len", &self.frame_len())
            .finish_non_exhaustive()
    }
}

/// Copies a chain of segments of `len` bytes into a chunk of its own.
pub(crate) fn copy_chain(mbuf: NonNull<rte_mbuf>, len: usize) -> Chunk {
    let mut chunk = Chunk::with_capacity(len);
    let mut segment = Some(mbuf);
    while let Some(raw) = segment {
        // SAFETY: fields of these types of a live mbuf, whose data is as long as it says;
        // nobody writes to it while this reads.
        let bytes = unsafe {
            let (data, _) = data_room(raw);
            let len: u16 = field(raw, dpdk_sys::CRORE_MBUF_DATA_LEN);
            core::slice::from_raw_parts(data.as_ptr(), len.into())
        };
        chunk.try_extend(bytes);
        // SAFETY: a field of this type of a live mbuf; what it points to is live as well.
        segment = NonNull::new(unsafe { field(raw, dpdk_sys::CRORE_MBUF_NEXT) });
    }
    chunk
}

/// Up to [`BURST`](crore_nic::BURST) buffers on their way from or to a queue;
/// what is left in it is given back in bulk.
pub struct Burst {
    slots: [*mut rte_mbuf; BURST],
    len: usize,
}

impl Burst {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            slots: [ptr::null_mut(); BURST],
            len: 0,
        }
    }

    /// Adds a buffer; gives it back when there is no room.
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.slots.get_mut(self.len) {
            Some(slot) => {
                *slot = mbuf.into_raw().as_ptr();
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// Takes the last buffer out.
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        NonNull::new(self.slots[self.len]).map(Mbuf)
    }

    /// Gives all back to their pools, in bulk.
    pub fn clear(&mut self) {
        if self.len != 0 {
            // SAFETY: the first `len` slots are owned live mbufs, and no longer after this.
            unsafe { dpdk_sys::rte_pktmbuf_free_bulk(self.slots.as_mut_ptr(), self.len as u32) };
            self.len = 0;
        }
    }

    /// Room for more, as the C side takes it.
    pub(crate) fn spare(&mut self) -> &mut [*mut rte_mbuf] {
        &mut self.slots[self.len..]
    }

    /// Counts `n` more slots in, which the C side filled.
    ///
    /// # Safety
    /// The first `n` of [`Burst::spare`] hold live mbufs that nobody else owns.
    pub(crate) unsafe fn filled(&mut self, n: usize) {
        self.len = (self.len + n).min(BURST);
    }

    pub(crate) fn raw(&mut self) -> &mut [*mut rte_mbuf] {
        &mut self.slots[..self.len]
    }

    /// Forgets the first `n`, which the C side took; the rest moves to the front.
    ///
    /// # Safety
    /// The first `n` are owned by somebody else now.
    pub(crate) unsafe fn taken(&mut self, n: usize) {
        let n = n.min(self.len);
        self.slots.copy_within(n..self.len, 0);
        self.len -= n;
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Burst {
    type Target = [Mbuf];

    fn deref(&self) -> &[Mbuf] {
        // SAFETY: Mbuf is a transparent non-null pointer, and the first `len` slots are
        // owned, non-null mbufs.
        unsafe { core::slice::from_raw_parts(self.slots.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Burst {
    fn deref_mut(&mut self) -> &mut [Mbuf] {
        // SAFETY: as in `deref`; swapping owned buffers about keeps each in one place.
        unsafe { core::slice::from_raw_parts_mut(self.slots.as_mut_ptr().cast(), self.len) }
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// How a chunk counts references to mbufs whose buffer has `size` bytes. One table
/// for each size that ever occurs, kept for the life of the process.
pub(crate) fn vtable(size: u16) -> &'static ExternalVtable {
    static TABLES: Mutex<Vec<&'static ExternalVtable>> = Mutex::new(Vec::new());
    let mut tables = TABLES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = tables.iter().find(|table| table.footprint == u32::from(size)) {
        return found;
    }
    let table: &'static ExternalVtable = Box::leak(Box::new(ExternalVtable {
        retain,
        release,
        footprint: size.into(),
    }));
    tables.push(table);
    table
}

unsafe fn retain(owner: NonNull<()>) {
    // SAFETY: `owner` is the mbuf that a chunk was made of, and the chunk that is being
    // cloned holds a reference to it.
    unsafe { dpdk_sys::crore_retain(owner.as_ptr().cast()) };
}

unsafe fn release(owner: NonNull<()>) {
    // SAFETY: `owner` is the mbuf that a chunk was made of, and the chunk that is being
    // dropped gives up its one reference.
    unsafe { dpdk_sys::crore_free(owner.as_ptr().cast()) };
}
