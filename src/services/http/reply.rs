//! Responses, made in advance where they can be.

use crore_netbuf::Chunk;

use super::parse::{Method, Request};
use crate::services::Pattern;

/// Bodies up to this size lie behind their heads in one piece, so that a
/// response is one write. Larger ones are cut from the pattern as they go.
const WHOLE_MAX: u64 = 16 * 1024;

macro_rules! statuses {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal $reason:literal,)+) => {
        /// The statuses that are given.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Status { $($(#[doc = $doc])+ $name,)+ }

        impl Status {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The number and the words.
            pub const fn line(self) -> &'static str {
                match self { $(Self::$name => concat!($code, " ", $reason),)+ }
            }
        }
    };
}

statuses! {
    /// Here it is.
    Ok = 200 "OK",
    /// Not HTTP, or HTTP that contradicts itself.
    BadRequest = 400 "Bad Request",
    /// A file that may not be read.
    Forbidden = 403 "Forbidden",
    /// No such file, or none below the root.
    NotFound = 404 "Not Found",
    /// Neither GET nor HEAD.
    MethodNotAllowed = 405 "Method Not Allowed",
    /// A request with a body beyond reason.
    ContentTooLarge = 413 "Content Too Large",
    /// A target beyond its limit.
    TargetTooLong = 414 "URI Too Long",
    /// A head beyond its limit.
    FieldsTooLarge = 431 "Request Header Fields Too Large",
    /// A method or a transfer coding that nobody here knows.
    NotImplemented = 501 "Not Implemented",
    /// Out of file descriptors or the like.
    Unavailable = 503 "Service Unavailable",
    /// Not HTTP/1.
    VersionNotSupported = 505 "HTTP Version Not Supported",
}

/// What a response says about the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Persistence {
    /// HTTP/1.1, stays open.
    Implied,
    /// HTTP/1.0, stays open.
    KeepAlive,
    /// Ends after this.
    Close,
}

impl Persistence {
    pub(super) const fn of(request: &Request<'_>) -> Self {
        match (request.keep_alive, request.old) {
            (true, false) => Self::Implied,
            (true, true) => Self::KeepAlive,
            (false, _) => Self::Close,
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Implied => "",
            Self::KeepAlive => "Connection: keep-alive\r\n",
            Self::Close => "Connection: close\r\n",
        }
    }
}

/// The responses of a server whose every path has the same body.
#[derive(Debug)]
pub(super) struct FixedReplies {
    /// By [`Persistence`]; with the body behind it when that is small.
    get: [Chunk; 3],
    head: [Chunk; 3],
    /// Bytes of body that follow a GET's chunk.
    follows: u64,
}

impl FixedReplies {
    pub(super) fn of_pattern(body_len: u64) -> Self {
        let bytes = if body_len <= WHOLE_MAX {
            Some((0..body_len).map(Pattern::byte_at).collect::<Vec<_>>())
        } else {
            None
        };
        Self::new(bytes.as_deref(), body_len, "text/plain")
    }

    pub(super) fn of_page(page: &[u8], kind: &str) -> Self {
        Self::new(Some(page), page.len() as u64, kind)
    }

    fn new(body: Option<&[u8]>, body_len: u64, kind: &str) -> Self {
        let kinds = [Persistence::Implied, Persistence::KeepAlive, Persistence::Close];
        let head = |persistence| head(Status::Ok, persistence, body_len, kind);
        let get = |persistence| {
            let mut bytes = head(persistence).into_bytes();
            bytes.extend_from_slice(body.unwrap_or_default());
            Chunk::copy_from(&bytes)
        };
        Self {
            get: kinds.map(get),
            head: kinds.map(|persistence| Chunk::copy_from(head(persistence).as_bytes())),
            follows: if body.is_some() { 0 } else { body_len },
        }
    }

    /// What to write first, and how much of the pattern after it.
    #[inline]
    pub(super) fn pick(&self, request: &Request<'_>) -> (&Chunk, u64) {
        let kind = Persistence::of(request) as usize;
        match request.method {
            Method::Get => (&self.get[kind], self.follows),
            Method::Head => (&self.head[kind], 0),
        }
    }
}

/// A response's head.
pub(super) fn head(status: Status, persistence: Persistence, length: u64, kind: &str) -> String {
    let allow = if status == Status::MethodNotAllowed {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    format!(
        "HTTP/1.1 {}\r\nServer: crore\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}{}\r\n",
        status.line(),
        persistence.field(),
    )
}

/// A whole response that says what went wrong.
pub(super) fn refusal(status: Status, persistence: Persistence, method: Method) -> Chunk {
    let body = format!("{}\n", status.line());
    let mut text = head(status, persistence, body.len() as u64, "text/plain");
    if method == Method::Get {
        text.push_str(&body);
    }
    Chunk::copy_from(text.as_bytes())
}
