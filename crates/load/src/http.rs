//! As much of an HTTP/1.1 client as measuring a server takes: fixed requests,
//! replies with a Content-Length.

/// Finds the end of replies in a stream of bytes that comes in pieces.
#[derive(Default, Debug)]
pub(crate) struct ReplyParser {
    head: Vec<u8>,
    /// Body bytes that are still to come, once the head is whole.
    body_left: Option<u64>,
}

/// A head longer than this is none.
const HEAD_MAX: usize = 16 * 1024;

/// How far a piece of the stream got the parser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// The reply goes on.
    More,
    /// A reply with status 200 is complete; this many bytes of the piece were its.
    Complete(usize),
    /// Not a reply that we can follow, or not a success.
    Bad,
}

impl ReplyParser {
    /// Whether nothing of a reply has come yet.
    #[inline]
    pub(crate) fn is_at_start(&self) -> bool {
        self.head.is_empty() && self.body_left.is_none()
    }

    pub(crate) fn push(&mut self, data: &[u8]) -> Progress {
        let mut used = 0;
        if self.body_left.is_none() {
            let before = self.head.len();
            let take = data.len().min(HEAD_MAX - before);
            self.head.extend_from_slice(&data[..take]);
            let search_from = before.saturating_sub(3);
            let Some(end) = self.head[search_from..].windows(4).position(|w| w == b"\r\n\r\n") else {
                return if self.head.len() >= HEAD_MAX {
                    Progress::Bad
                } else {
                    Progress::More
                };
            };
            let head_len = search_from + end + 4;
            used = head_len - before;
            self.head.truncate(head_len);
            let Some(length) = content_length(&self.head) else {
                return Progress::Bad;
            };
            self.body_left = Some(length);
        }
        let left = self.body_left.unwrap_or(0);
        let body = ((data.len() - used) as u64).min(left);
        if body < left {
            self.body_left = Some(left - body);
            return Progress::More;
        }
        self.body_left = None;
        self.head.clear();
        Progress::Complete(used + body as usize)
    }
}

fn content_length(head: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    if !lines.next()?.starts_with("HTTP/1.1 200") {
        return None;
    }
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    };
    lines.find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_cut_at_any_place_ends_where_it_ends() {
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1";
        let end = reply.len() - 8;
        for cut in 0..end {
            let mut parser = ReplyParser::default();
            assert_eq!(parser.push(&reply[..cut]), Progress::More, "cut at {cut}");
            assert_eq!(
                parser.push(&reply[cut..]),
                Progress::Complete(end - cut),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn what_is_no_success_is_bad() {
        for reply in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_eq!(
                ReplyParser::default().push(reply.as_bytes()),
                Progress::Bad,
                "{reply:?}"
            );
        }
        let endless = vec![b'x'; HEAD_MAX];
        assert_eq!(
            ReplyParser::default().push(&endless),
            Progress::Bad,
            "a head without end"
        );
    }
}
