//! A large plan cut into segments: by the NIC (TSO), or by generic segmentation
//! offload in software.
//!
//! Read first: `output.rs`; `large.rs` of crate `tcp`, which says when there is one.
//!
//! In software the segments are written straight into the NIC's buffers, so nothing
//! is copied twice and no header is read back; what is saved is the planning and the
//! commitment of each. A NIC that cuts gets one header and all of the payload, in as
//! many buffers as that takes.

use crore_nic::{Nic, TxMeta};
use crore_tcp::{Connection, Plan};
use crore_wire::{ETHERNET_HEADER, Flags, IpEmit, Link, TxChecksum, emit_tcp, make_large, tcp_headers_len};

/// What the segments of a plan have in common.
pub(crate) struct Cut<'a> {
    pub(crate) link: &'a Link,
    pub(crate) ip: &'a IpEmit,
    pub(crate) checksum: TxChecksum,
    /// The NIC cuts.
    pub(crate) tso: bool,
}

/// What was written.
pub(crate) struct Written {
    /// Segments.
    pub(crate) count: u16,
    /// Bytes of their frames.
    pub(crate) bytes: u64,
    /// The NIC cuts them.
    pub(crate) by_nic: bool,
}

impl Cut<'_> {
    /// Writes the segments of `plan`; says how many there were buffers for. The plan
    /// then stands for those.
    #[inline(never)]
    pub(crate) fn send<N: Nic>(&self, nic: &mut N, conn: &Connection, plan: &mut Plan) -> Written {
        let count = plan.payload_len / plan.segment_len;
        let headers = tcp_headers_len(self.ip, &plan.segment);
        let by_nic = self.tso && self.send_whole(nic, conn, plan, headers).is_some();
        let count = if by_nic {
            count
        } else {
            self.send_parts(nic, conn, plan, headers, count)
        };
        Written {
            count,
            bytes: u64::from(count) * (headers + usize::from(plan.segment_len)) as u64,
            by_nic,
        }
    }

    fn meta(&self, headers: usize, segment_len: u16) -> TxMeta {
        let l3_len = self.ip.header_len();
        TxMeta {
            l2_len: ETHERNET_HEADER as u8,
            l3_len: l3_len as u16,
            l4_len: (headers - ETHERNET_HEADER - l3_len) as u8,
            ipv6: self.ip.dst.is_ipv6(),
            offload_checksum: !matches!(self.checksum, TxChecksum::Software),
            segment_len,
        }
    }

    /// Hands the plan to the NIC in one; nothing has happened if there are too few
    /// buffers for that.
    fn send_whole<N: Nic>(&self, nic: &mut N, conn: &Connection, plan: &Plan, headers: usize) -> Option<()> {
        let (first, whole) = (usize::from(plan.segment_len), usize::from(plan.payload_len));
        let buf = nic.reserve(headers + first)?;
        conn.copy_payload_from(plan, 0, &mut buf[headers..headers + first]);
        emit_tcp(buf, self.link, self.ip, &plan.segment, first, self.checksum);
        make_large(buf, self.ip, &plan.segment, whole, self.checksum);
        let mut done = first;
        while done < whole {
            let room = nic.extend(whole - done)?;
            conn.copy_payload_from(plan, done as u32, room);
            done += room.len();
        }
        nic.commit(headers + whole, self.meta(headers, plan.segment_len));
        Some(())
    }

    /// Writes one segment after the other; says how many there were buffers for.
    fn send_parts<N: Nic>(
        &self,
        nic: &mut N,
        conn: &Connection,
        plan: &mut Plan,
        headers: usize,
        count: u16,
    ) -> u16 {
        let len = usize::from(plan.segment_len);
        let meta = self.meta(headers, 0);
        let (mut segment, mut ip) = (plan.segment, *self.ip);
        segment.flags = segment.flags.without(Flags::PSH);
        for done in 0..count {
            let Some(buf) = nic.reserve(headers + len) else {
                plan.keep(done);
                return done;
            };
            let skip = u32::from(done) * u32::from(plan.segment_len);
            conn.copy_payload_from(plan, skip, &mut buf[headers..headers + len]);
            if done + 1 == count {
                segment.flags = plan.segment.flags;
            }
            let written = emit_tcp(buf, self.link, &ip, &segment, len, self.checksum);
            nic.commit(written, meta);
            segment.seq += u32::from(plan.segment_len);
            ip.ident = ip.ident.wrapping_add(1);
        }
        count
    }
}
