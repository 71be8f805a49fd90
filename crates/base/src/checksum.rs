//! What a NIC may say about a received packet's checksums.

/// The NIC's verdict on the checksums of a received packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxChecksum {
    /// The NIC did not look; software must.
    #[default]
    Unknown,
    /// IP header and TCP/UDP checksums are right.
    Good,
    /// One of them is wrong.
    Bad,
    /// The sender left the transport checksum to offload that never happened,
    /// and the path says so (a virtio peer): the payload is as it was handed over.
    Partial,
}
