//! Where the parser stands in a script's text.
//!
//! The language has no tokens that hold everywhere (`5.` is a time in one place
//! and control bits in another), so the parser asks the text for what it expects.

use core::fmt;

/// Why a script could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// What reading gives.
pub(crate) type Parsed<T> = Result<T, ParseError>;

/// A place in a text.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    line_start: usize,
    /// Something in the packet that is being read is not ours to do.
    pub(crate) foreign: Option<String>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            line_start: 0,
            foreign: None,
        }
    }

    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    pub(crate) fn error<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError {
            line: self.line,
            column: (self.at - self.line_start) as u32 + 1,
            message: message.into(),
        })
    }

    /// What was expected, against what stands here.
    pub(crate) fn expected<T>(&self, what: &str) -> Parsed<T> {
        let rest: String = self.rest().chars().take_while(|c| *c != '\n').take(24).collect();
        if rest.is_empty() {
            self.error(format!(
                "expected {what}, found the end of the line or of the script"
            ))
        } else {
            self.error(format!("expected {what}, found `{rest}`"))
        }
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next character, wherever it stands.
    pub(crate) fn peek_raw(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn bump(&mut self) -> Option<char> {
        let next = self.peek_raw()?;
        self.at += next.len_utf8();
        if next == '\n' {
            self.line += 1;
            self.line_start = self.at;
        }
        Some(next)
    }

    fn advance(&mut self, bytes: usize) {
        let end = self.at + bytes;
        while self.at < end && self.bump().is_some() {}
    }

    /// Passes blanks and comments.
    pub(crate) fn skip(&mut self) -> Parsed<()> {
        loop {
            let rest = self.rest();
            if rest.starts_with("//") || rest.starts_with('#') {
                self.advance(rest.find('\n').unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                match rest.find("*/") {
                    Some(end) => self.advance(end + 2),
                    None => return self.error("a comment that begins here has no end"),
                }
            } else if rest.starts_with(|c: char| c.is_whitespace()) {
                self.bump();
            } else {
                return Ok(());
            }
        }
    }

    pub(crate) fn at_end(&mut self) -> Parsed<bool> {
        self.skip()?;
        Ok(self.rest().is_empty())
    }

    /// Whether `what` comes next, after blanks.
    pub(crate) fn sees(&mut self, what: &str) -> Parsed<bool> {
        self.skip()?;
        Ok(self.rest().starts_with(what))
    }

    /// Passes `what` if it comes next.
    pub(crate) fn eat(&mut self, what: &str) -> Parsed<bool> {
        let there = self.sees(what)?;
        if there {
            self.advance(what.len());
        }
        Ok(there)
    }

    /// Passes `what`, which must come next.
    pub(crate) fn want(&mut self, what: &str) -> Parsed<()> {
        if self.eat(what)? {
            Ok(())
        } else {
            self.expected(&format!("`{what}`"))
        }
    }

    /// The word that comes next, left standing.
    pub(crate) fn peek_word(&mut self) -> Parsed<&'a str> {
        self.skip()?;
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        Ok(&rest[..end])
    }

    /// The word that comes next.
    pub(crate) fn word(&mut self, what: &str) -> Parsed<&'a str> {
        let word = self.peek_word()?;
        if word.is_empty() {
            return self.expected(what);
        }
        self.advance(word.len());
        Ok(word)
    }

    /// Passes the word `what` if just that word comes next.
    pub(crate) fn eat_word(&mut self, what: &str) -> Parsed<bool> {
        let there = self.peek_word()? == what;
        if there {
            self.advance(what.len());
        }
        Ok(there)
    }

    /// What comes next as long as `belongs` says so; may be nothing.
    pub(crate) fn run_of(&mut self, belongs: impl Fn(char) -> bool) -> Parsed<&'a str> {
        self.skip()?;
        let rest = self.rest();
        let end = rest.find(|c: char| !belongs(c)).unwrap_or(rest.len());
        self.advance(end);
        Ok(&rest[..end])
    }

    /// The rest of the line.
    pub(crate) fn rest_of_line(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find('\n').unwrap_or(rest.len());
        self.advance(end);
        &rest[..end]
    }

    /// An unsigned decimal number that fits its type.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self, what: &str) -> Parsed<T> {
        let before = self.clone();
        let digits = self.run_of(|c| c.is_ascii_digit())?;
        if digits.is_empty() {
            return self.expected(what);
        }
        let value = digits
            .parse::<u64>()
            .ok()
            .and_then(|value| T::try_from(value).ok());
        match value {
            Some(value) => Ok(value),
            None => before.error(format!("{what} is out of range: {digits}")),
        }
    }

    /// The same, or `...`, which gives `None`.
    pub(crate) fn number_or_any<T: TryFrom<u64>>(&mut self, what: &str) -> Parsed<Option<T>> {
        if self.eat("...")? {
            return Ok(None);
        }
        self.number(what).map(Some)
    }

    /// A time in seconds, as microseconds. A `...` behind it is not part of it.
    pub(crate) fn time(&mut self) -> Parsed<i64> {
        self.skip()?;
        let before = self.clone();
        let whole = self.run_of(|c| c.is_ascii_digit())?;
        let mut fraction = "";
        let rest = self.rest();
        if rest.starts_with('.') && !rest.starts_with("...") {
            self.bump();
            let rest = self.rest();
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            fraction = &rest[..end];
            self.advance(end);
        }
        if whole.is_empty() && fraction.is_empty() {
            return before.expected("a time");
        }
        let seconds: i64 = if whole.is_empty() {
            0
        } else {
            whole.parse().unwrap_or(i64::MAX)
        };
        let micros: i64 = fraction
            .chars()
            .chain(core::iter::repeat('0'))
            .take(6)
            .filter_map(|c| c.to_digit(10))
            .fold(0, |sum, digit| sum * 10 + i64::from(digit));
        // A year of virtual time is more than any script needs, and far from overflow.
        if seconds > 366 * 86_400 {
            return before.error("a time of more than a year");
        }
        Ok(seconds * 1_000_000 + micros)
    }

    /// What stands between here and `close`, which is passed too.
    pub(crate) fn until(&mut self, close: &str, what: &str) -> Parsed<&'a str> {
        let rest = self.rest();
        match rest.find(close) {
            Some(end) => {
                self.advance(end + close.len());
                Ok(&rest[..end])
            }
            None => self.error(format!("{what} that begins here has no end")),
        }
    }
}
