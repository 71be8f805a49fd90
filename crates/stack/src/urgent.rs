//! Urgent data: a mark in the stream (RFC 6093).

use crate::{ConnId, SocketError, Stack};

impl Stack {
    /// Like [`Self::write`], and marks the last byte as urgent (`MSG_OOB`), if all
    /// of them are taken.
    pub fn write_urgent(&mut self, conn: ConnId, data: &[u8]) -> Result<usize, SocketError> {
        self.write_by(conn, |connection| connection.write_urgent(data))
    }

    /// How many unread bytes lie before the one that the peer has marked as urgent;
    /// none if there is no such mark, or it was read. Zero: it is read next
    /// (`sockatmark`).
    pub fn urgent_mark(&self, conn: ConnId) -> Option<usize> {
        self.slots.active_by_id(conn)?.conn.urgent_mark()
    }
}
