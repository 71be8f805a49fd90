//! A request's head: its line and the few fields that matter here.
//!
//! Read first: RFC 9112 sections 2.2, 3, 5, 6.3.
//!
//! Always true: one pass over the bytes; nothing is allocated; what is refused
//! says with which status.

use super::reply::Status;

/// The longest head, line and fields together, in bytes.
pub const HEAD_MAX: usize = 8192;
/// The longest request target, in bytes.
pub const TARGET_MAX: usize = 4096;
/// The longest body of a request that is read over, in bytes.
const BODY_MAX: u64 = 1 << 20;
/// Most header fields.
const FIELDS_MAX: usize = 100;

/// What is done with the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Send it.
    Get,
    /// Send what GET would send, without the body.
    Head,
}

/// A request that can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// GET or HEAD.
    pub method: Method,
    /// The target as it was sent, in origin form or absolute form.
    pub target: &'a [u8],
    /// HTTP/1.0, whose answers must say when the connection stays open.
    pub old: bool,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
    /// Bytes of a body that follow the head, to be read over.
    pub body: u64,
}

/// What the bytes so far amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<'a> {
    /// A whole head of so many bytes.
    Complete(usize, Request<'a>),
    /// More must come.
    Partial,
    /// This can't become a request that is answered with anything but this status.
    Refused(Status),
}

/// Where the head that starts at the first byte ends, looking only at what lies
/// behind `scanned` bytes in which it was found not to end. Call it with what
/// was looked at before, and each byte is looked at about once.
pub fn find_head_end(bytes: &[u8], scanned: usize) -> Option<usize> {
    let from = scanned.saturating_sub(2);
    let mut at = from + find(&bytes[from..], b'\n')?;
    loop {
        match bytes.get(at + 1..) {
            Some([b'\n', ..]) => return Some(at + 2),
            Some([b'\r', b'\n', ..]) => return Some(at + 3),
            _ => at += 1 + find(bytes.get(at + 1..)?, b'\n')?,
        }
    }
}

/// Parses the head at the start of `bytes`. A bare LF is taken for a line's
/// end, and empty lines before the request line are passed over (RFC 9112
/// section 2.2).
pub fn parse_head(bytes: &[u8]) -> Parsed<'_> {
    let mut rest = &bytes[leading_empty_lines(bytes)..];
    if let Some(&first) = rest.first()
        && !is_token(first)
        && rest != b"\r"
    {
        return Parsed::Refused(Status::BadRequest);
    }
    let Some(end) = find(rest, b'\n') else {
        return unfinished(bytes, rest);
    };
    let line = strip_cr(&rest[..end]);
    let mut head = match request_line(line) {
        Ok(head) => head,
        Err(status) => return Parsed::Refused(status),
    };
    rest = &rest[end + 1..];
    for _ in 0..=FIELDS_MAX {
        let Some(end) = find(rest, b'\n') else {
            return unfinished(bytes, b"");
        };
        let line = strip_cr(&rest[..end]);
        rest = &rest[end + 1..];
        if line.is_empty() {
            let length = bytes.len() - rest.len();
            if length > HEAD_MAX {
                return Parsed::Refused(Status::FieldsTooLarge);
            }
            return match head.finish() {
                Ok(request) => Parsed::Complete(length, request),
                Err(status) => Parsed::Refused(status),
            };
        }
        if let Err(status) = head.field(line) {
            return Parsed::Refused(status);
        }
    }
    Parsed::Refused(Status::FieldsTooLarge)
}

/// Bytes of empty lines before the request line, which are passed over.
#[inline]
pub(super) fn leading_empty_lines(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let [b'\n', tail @ ..] | [b'\r', b'\n', tail @ ..] = rest {
        rest = tail;
    }
    bytes.len() - rest.len()
}

/// The head did not end within `bytes`; `line` is the request line's part, if
/// that did not even end.
fn unfinished<'a>(bytes: &[u8], line: &[u8]) -> Parsed<'a> {
    // A method and a version need far less than the slack.
    if line.len() > TARGET_MAX + 64 {
        Parsed::Refused(Status::TargetTooLong)
    } else if bytes.len() >= HEAD_MAX {
        Parsed::Refused(Status::FieldsTooLarge)
    } else {
        Parsed::Partial
    }
}

/// What is known of a head while its fields are read.
struct Head<'a> {
    method: Method,
    target: &'a [u8],
    old: bool,
    close: bool,
    keep_alive: bool,
    hosts: u32,
    content_length: Option<u64>,
}

impl<'a> Head<'a> {
    fn field(&mut self, line: &'a [u8]) -> Result<(), Status> {
        let colon = line
            .iter()
            .position(|&b| !is_token(b))
            .ok_or(Status::BadRequest)?;
        //= rfc9112#section-5.1 (MUST)
        // No space between a name and its colon, and (section 5.2) no folded lines.
        if colon == 0 || line[colon] != b':' {
            return Err(Status::BadRequest);
        }
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        match (colon, name[0] | 0x20) {
            (4, b'h') if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            (10, b'c') if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            (14, b'c') if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(value.trim_ascii()).ok_or(Status::BadRequest)?;
                //= rfc9112#section-6.3 (MUST)
                // Lengths that differ are an attack or an error.
                if self.content_length.is_some_and(|before| before != length) {
                    return Err(Status::BadRequest);
                }
                self.content_length = Some(length);
            }
            (17, b't') if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                return Err(Status::NotImplemented);
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&b| b == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn finish(self) -> Result<Request<'a>, Status> {
        //= rfc9112#section-3.2 (MUST)
        // HTTP/1.1 has exactly one Host field.
        if self.hosts > 1 || (self.hosts == 0 && !self.old) {
            return Err(Status::BadRequest);
        }
        let body = self.content_length.unwrap_or(0);
        if body > BODY_MAX {
            return Err(Status::ContentTooLarge);
        }
        Ok(Request {
            method: self.method,
            target: self.target,
            old: self.old,
            keep_alive: !self.close && (!self.old || self.keep_alive),
            body,
        })
    }
}

fn request_line(line: &[u8]) -> Result<Head<'_>, Status> {
    let space = find(line, b' ').ok_or(Status::BadRequest)?;
    let (method, rest) = (&line[..space], &line[space + 1..]);
    let space = find(rest, b' ');
    let target = &rest[..space.unwrap_or(rest.len())];
    if target.len() > TARGET_MAX {
        return Err(Status::TargetTooLong);
    }
    let version = space.map_or(&[][..], |at| &rest[at + 1..]);
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            // A later minor version of 1 is answered as 1.1 (RFC 9110 section 2.5).
            if *major != b'1' {
                return Err(Status::VersionNotSupported);
            }
            false
        }
        _ => return Err(Status::BadRequest),
    };
    let method = match method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" | b"PUT" | b"DELETE" | b"CONNECT" | b"OPTIONS" | b"TRACE" | b"PATCH" => {
            return Err(Status::MethodNotAllowed);
        }
        other if !other.is_empty() && other.iter().all(|&b| is_token(b)) => {
            return Err(Status::NotImplemented);
        }
        _ => return Err(Status::BadRequest),
    };
    let form_ok = target.first() == Some(&b'/')
        || target
            .get(..7)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http://"));
    if !form_ok || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Status::BadRequest);
    }
    Ok(Head {
        method,
        target,
        old,
        close: false,
        keep_alive: false,
        hosts: 0,
        content_length: None,
    })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, &d| {
        sum.checked_mul(10)?.checked_add(u64::from(d - b'0'))
    })
}

fn strip_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a byte may stand in a method or a field's name (RFC 9110 section 5.6.2).
#[inline]
const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
            )
            || matches!(b, b'|' | b'~');
        i += 1;
    }
    table
};

/// Where `wanted` first stands, eight bytes at a time.
#[inline]
fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let pattern = ONES * u64::from(wanted);
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let differing = u64::from_le_bytes(*word) ^ pattern;
        // The lowest set bit belongs to the first byte that is zero.
        let zeros = differing.wrapping_sub(ONES) & !differing & HIGHS;
        if zeros != 0 {
            return Some(i * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    tail.iter()
        .position(|&b| b == wanted)
        .map(|at| words.len() * 8 + at)
}
