//! What a connection keeps between two events. Most keep nothing: whole
//! requests came, whole responses went.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crore_netbuf::Chunk;
use crore_stack::{ConnId, SocketError, Stack};

use crate::services::Pattern;

/// The largest piece of a file that is read at once.
pub(super) const FILE_PIECE: usize = 64 * 1024;

/// The state of a connection in the middle of something.
#[derive(Debug, Default)]
pub struct Conn {
    /// The start of a request whose end has not come; at most
    /// [`HEAD_MAX`](super::HEAD_MAX) and one chunk.
    pub(super) head: Vec<u8>,
    /// How far `head` was searched for its end.
    pub(super) scanned: usize,
    /// Bytes of a request's body still to be read over.
    pub(super) skip: u64,
    /// Requests that came while an answer was on its way.
    pub(super) unread: Chunk,
    /// What is on its way.
    pub(super) outgoing: Outgoing,
    /// What follows when it has gone.
    pub(super) after: After,
}

/// What becomes of the connection once nothing is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum After {
    /// The next request.
    #[default]
    Open,
    /// The end, of which the peer is told.
    Close,
    /// The peer was told; what it still sends is thrown away until it ends too,
    /// since ending earlier would reset the connection under the last response.
    Linger,
}

impl Conn {
    /// Whether nothing would be lost by forgetting it.
    pub(super) fn is_idle(&self) -> bool {
        self.head.is_empty()
            && self.skip == 0
            && self.unread.is_empty()
            && self.outgoing.is_done()
            && self.after == After::Open
    }
}

/// A response on its way.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Bytes that are at hand: a head, or all of it.
    pub(super) first: Chunk,
    /// What follows them.
    pub(super) body: Body,
}

/// A body that is made as it goes.
#[derive(Debug, Default)]
pub(super) enum Body {
    /// None.
    #[default]
    None,
    /// The pattern, from an offset to an end.
    Pattern(u64, u64),
    /// A file, from an offset to an end.
    File(File, u64, u64),
}

/// What pieces of bodies are cut from or read into, shared by all connections.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) pattern: Pattern,
    pub(super) piece: Box<[u8]>,
}

impl Sources {
    pub(super) fn new() -> Self {
        Self {
            pattern: Pattern::new(),
            piece: vec![0; FILE_PIECE].into(),
        }
    }
}

/// Why a response can't be finished.
#[derive(Debug)]
pub(super) enum Stuck {
    /// The connection is over.
    Socket,
    /// The file is shorter than it was, or can't be read any more.
    File,
}

impl From<SocketError> for Stuck {
    fn from(_: SocketError) -> Self {
        Self::Socket
    }
}

impl Outgoing {
    /// Whether everything was handed over.
    pub(super) fn is_done(&self) -> bool {
        self.first.is_empty() && matches!(self.body, Body::None)
    }

    /// Writes until all is written or the send buffer refuses; returns how much
    /// went. In the second case `Writable` will follow.
    pub(super) fn push(
        &mut self,
        stack: &mut Stack,
        conn: ConnId,
        sources: &mut Sources,
    ) -> Result<u64, Stuck> {
        let mut written = 0;
        if !self.first.is_empty() {
            let accepted = stack.write_chunk(conn, self.first.clone())?;
            written += accepted as u64;
            self.first.advance(accepted);
            if !self.first.is_empty() {
                return Ok(written);
            }
            self.first = Chunk::empty();
        }
        loop {
            let (accepted, wanted) = match &mut self.body {
                Body::None => return Ok(written),
                Body::Pattern(at, end) => {
                    let wanted = (*end - *at).min(Pattern::PIECE_MAX as u64) as usize;
                    let accepted = stack.write_chunk(conn, sources.pattern.piece(*at, wanted))?;
                    *at += accepted as u64;
                    (accepted, wanted)
                }
                Body::File(file, at, end) => {
                    // One byte more than fits, so that a full buffer refuses and
                    // tells when it has room.
                    let room = stack.write_capacity(conn).saturating_add(1).min(FILE_PIECE);
                    let wanted = (*end - *at).min(room as u64) as usize;
                    let piece = &mut sources.piece[..wanted];
                    file.read_exact_at(piece, *at).map_err(|_| Stuck::File)?;
                    let accepted = stack.write(conn, piece)?;
                    *at += accepted as u64;
                    (accepted, wanted)
                }
            };
            written += accepted as u64;
            if let Body::Pattern(at, end) | Body::File(_, at, end) = &self.body
                && at == end
            {
                self.body = Body::None;
            }
            if accepted < wanted {
                return Ok(written);
            }
        }
    }
}
