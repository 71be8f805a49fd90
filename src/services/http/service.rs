//! The HTTP server: events in, responses out.

use std::path::Path;

use crore_base::Instant;
use crore_netbuf::Chunk;
use crore_stack::{ConnId, Read, Stack};

use super::conn::{After, Body, Conn, Outgoing, Sources, Stuck};
use super::files::{Found, Root};
use super::parse::{HEAD_MAX, Method, Parsed, Request, find_head_end, leading_empty_lines, parse_head};
use super::reply::{FixedReplies, Persistence, Status, head, refusal};
use crate::services::AppCounters;
use crate::services::served::{Desk, Served, Talk};

/// An HTTP server.
pub type Http = Served<HttpTalk>;

/// What the HTTP server does on its connections: what its answers are made of.
#[derive(Debug)]
pub struct HttpTalk {
    content: Content,
    sources: Sources,
    counters: AppCounters,
    draining: bool,
}

#[derive(Debug)]
enum Content {
    Fixed(FixedReplies),
    Files(Root),
}

/// How a connection stands after what there was to do has been done.
enum Flow {
    /// Waiting for the peer.
    Open,
    /// To be given back.
    Ended,
    /// To be reset.
    Broken,
}

impl Http {
    /// A server whose every path answers with `body_len` bytes of the pattern.
    pub fn with_body(body_len: u64) -> Self {
        Self::with(Content::Fixed(FixedReplies::of_pattern(body_len)))
    }

    /// A server whose every path answers with `page`, of the media type `kind`.
    pub fn with_page(page: &[u8], kind: &str) -> Self {
        Self::with(Content::Fixed(FixedReplies::of_page(page, kind)))
    }

    /// A server of the files below `root`.
    pub fn with_root(root: &Path) -> std::io::Result<Self> {
        Ok(Self::with(Content::Files(Root::open(root)?)))
    }

    fn with(content: Content) -> Self {
        Self::of(HttpTalk {
            content,
            sources: Sources::new(),
            counters: AppCounters::default(),
            draining: false,
        })
    }
}

impl Talk for HttpTalk {
    const NAME: &'static str = "http";
    const PORT: u16 = 80;
    type State = Box<Conn>;

    /// Does what there is to do on a connection. One without state takes the
    /// short way: read, parse, one write for each request.
    fn on_ready(&mut self, desk: &mut Desk<Box<Conn>>, stack: &mut Stack, now: Instant, conn: ConnId) {
        self.draining = desk.is_draining();
        let mut state = if Desk::<Box<Conn>>::has_state(stack, conn) {
            desk.take(stack, conn)
        } else {
            None
        };
        match self.advance(stack, conn, &mut state) {
            Flow::Open => {
                if let Some(state) = state.filter(|s| !s.is_idle()) {
                    desk.put(stack, conn, state);
                }
            }
            Flow::Ended => desk.close(stack, now, conn),
            Flow::Broken => desk.abort(stack, conn),
        }
    }

    fn on_drain(&mut self, desk: &mut Desk<Box<Conn>>, stack: &mut Stack, now: Instant, conn: ConnId) {
        if let Some(state) = desk.state(stack, conn)
            && !state.outgoing.is_done()
            && state.after == After::Open
        {
            state.after = After::Close;
        }
        self.on_ready(desk, stack, now, conn);
    }

    fn counters(&self) -> &AppCounters {
        &self.counters
    }

    fn counters_mut(&mut self) -> &mut AppCounters {
        &mut self.counters
    }
}

impl HttpTalk {
    fn advance(&mut self, stack: &mut Stack, conn: ConnId, state: &mut Option<Box<Conn>>) -> Flow {
        loop {
            if let Some(held) = state {
                match self.resume(stack, conn, held) {
                    Some(flow) => return flow,
                    None if held.is_idle() => *state = None,
                    None => {}
                }
            }
            let mut input = match stack.read(conn) {
                Ok(Read::Data(chunk)) => chunk,
                Ok(Read::WouldBlock) if self.draining && state.is_none() => return Flow::Ended,
                Ok(Read::WouldBlock) => return Flow::Open,
                Ok(Read::Eof) => return Flow::Ended,
                // `Closed` follows.
                Err(_) => return Flow::Open,
            };
            self.counters.bytes_in += input.len() as u64;
            if let Some(held) = state {
                if held.after != After::Linger {
                    held.unread = input;
                }
                continue;
            }
            while !input.is_empty() {
                match self.request(stack, conn, &mut input) {
                    Ok(None) => {}
                    Ok(Some(mut fresh)) => {
                        fresh.unread = input;
                        *state = Some(fresh);
                        break;
                    }
                    Err(Stuck::Socket) => return Flow::Open,
                    Err(Stuck::File) => return Flow::Broken,
                }
            }
        }
    }

    /// Goes on with what a connection is in the middle of, until it needs more
    /// from its peer. `None`: read on.
    fn resume(&mut self, stack: &mut Stack, conn: ConnId, held: &mut Conn) -> Option<Flow> {
        loop {
            match held.outgoing.push(stack, conn, &mut self.sources) {
                Ok(written) => self.counters.bytes_out += written,
                Err(Stuck::Socket) => return Some(Flow::Open),
                Err(Stuck::File) => return Some(Flow::Broken),
            }
            if !held.outgoing.is_done() {
                return Some(Flow::Open);
            }
            if held.after == After::Close {
                stack.shutdown_write(conn);
                held.after = After::Linger;
            }
            if held.after == After::Linger {
                (held.unread, held.head, held.skip) = (Chunk::empty(), Vec::new(), 0);
                return None;
            }
            if held.unread.is_empty() {
                return None;
            }
            if held.skip > 0 {
                let skipped = held.skip.min(held.unread.len() as u64);
                held.skip -= skipped;
                held.unread.advance(skipped as usize);
                continue;
            }
            if held.head.is_empty() {
                let mut input = std::mem::take(&mut held.unread);
                match self.request(stack, conn, &mut input) {
                    Ok(None) => {}
                    Ok(Some(fresh)) => *held = *fresh,
                    Err(Stuck::Socket) => return Some(Flow::Open),
                    Err(Stuck::File) => return Some(Flow::Broken),
                }
                held.unread = input;
                continue;
            }
            self.gather(held);
        }
    }

    /// Adds what came to the start of a request, and answers it once it is whole.
    fn gather(&mut self, held: &mut Conn) {
        let before = held.head.len();
        let room = (HEAD_MAX + 1).saturating_sub(before);
        let taken = held.unread.len().min(room);
        held.head.extend_from_slice(&held.unread[..taken]);
        let empty_lines = leading_empty_lines(&held.head);
        held.head.drain(..empty_lines);
        held.scanned = held.scanned.saturating_sub(empty_lines);
        let end = find_head_end(&held.head, held.scanned);
        held.scanned = held.head.len();
        if end.is_none() && held.head.len() < HEAD_MAX {
            held.unread = Chunk::empty();
            return;
        }
        let bytes = std::mem::take(&mut held.head);
        held.scanned = 0;
        match parse_head(&bytes) {
            Parsed::Complete(length, request) => {
                held.unread.advance((empty_lines + length).saturating_sub(before));
                held.skip = request.body;
                held.outgoing = self.answer(&request);
                held.after = self.after(&request);
            }
            // With its end there, or at its limit, it is no longer partial.
            Parsed::Partial => self.refuse(held, Status::BadRequest),
            Parsed::Refused(status) => self.refuse(held, status),
        }
    }

    /// Takes one request from the front of `input` and answers it. What can't
    /// be finished at once comes back as state.
    #[inline]
    fn request(
        &mut self,
        stack: &mut Stack,
        conn: ConnId,
        input: &mut Chunk,
    ) -> Result<Option<Box<Conn>>, Stuck> {
        let (length, request) = match parse_head(input) {
            Parsed::Complete(length, request) => (length, request),
            Parsed::Partial => {
                let input = std::mem::take(input);
                let head = input[leading_empty_lines(&input)..].to_vec();
                let scanned = head.len();
                return Ok(Some(Box::new(Conn {
                    head,
                    scanned,
                    ..Conn::default()
                })));
            }
            Parsed::Refused(status) => {
                *input = Chunk::empty();
                let mut fresh = Box::<Conn>::default();
                self.refuse(&mut fresh, status);
                return Ok(Some(fresh));
            }
        };
        if let Content::Fixed(replies) = &self.content
            && request.keep_alive
            && request.body == 0
            && !self.draining
        {
            let (first, follows) = replies.pick(&request);
            if follows == 0 {
                self.counters.requests += 1;
                let accepted = stack.write_chunk(conn, first.clone())?;
                self.counters.bytes_out += accepted as u64;
                let rest = (accepted < first.len()).then(|| first.slice(accepted..first.len()));
                input.advance(length);
                return Ok(rest.map(|first| {
                    Box::new(Conn {
                        outgoing: Outgoing {
                            first,
                            body: Body::None,
                        },
                        ..Conn::default()
                    })
                }));
            }
        }
        let fresh = Conn {
            skip: request.body,
            outgoing: self.answer(&request),
            after: self.after(&request),
            ..Conn::default()
        };
        input.advance(length);
        Ok(Some(Box::new(fresh)))
    }

    fn answer(&mut self, request: &Request<'_>) -> Outgoing {
        let persistence = if self.draining {
            Persistence::Close
        } else {
            Persistence::of(request)
        };
        self.counters.requests += 1;
        match &self.content {
            Content::Fixed(replies) => {
                let (first, follows) = replies.pick(&Request {
                    keep_alive: persistence != Persistence::Close,
                    ..*request
                });
                let body = if follows > 0 {
                    Body::Pattern(0, follows)
                } else {
                    Body::None
                };
                Outgoing {
                    first: first.clone(),
                    body,
                }
            }
            Content::Files(root) => match root.find(request.target) {
                Ok(Found { file, length, kind }) => {
                    let first = head(Status::Ok, persistence, length, kind);
                    let body = if request.method == Method::Get && length > 0 {
                        Body::File(file, 0, length)
                    } else {
                        Body::None
                    };
                    Outgoing {
                        first: Chunk::copy_from(first.as_bytes()),
                        body,
                    }
                }
                Err(status) => {
                    self.counters.refused += 1;
                    let first = refusal(status, persistence, request.method);
                    Outgoing {
                        first,
                        body: Body::None,
                    }
                }
            },
        }
    }

    fn after(&self, request: &Request<'_>) -> After {
        if request.keep_alive && !self.draining {
            After::Open
        } else {
            After::Close
        }
    }

    /// Answers what can't be understood, and ends: where the next request would
    /// start nobody knows.
    fn refuse(&mut self, held: &mut Conn, status: Status) {
        self.counters.refused += 1;
        held.outgoing = Outgoing {
            first: refusal(status, Persistence::Close, Method::Get),
            body: Body::None,
        };
        held.unread = Chunk::empty();
        held.after = After::Close;
    }
}
