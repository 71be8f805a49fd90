//! Calls: `setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0`.

use super::super::ast::{Call, Expr, Field, Micros};
use super::super::cursor::{Cursor, Parsed};

/// How deep values may be nested: none that is written by hand comes near.
const DEPTH_MAX: u32 = 16;

pub(super) fn call(cursor: &mut Cursor<'_>, ends: Option<Micros>) -> Parsed<Call> {
    let name = cursor.word("the name of a call")?.to_owned();
    cursor.want("(")?;
    let arguments = list(cursor, ")", 0)?;
    cursor.want("=")?;
    let result = expression(cursor, 0)?;
    let errno = errno(cursor)?;
    note(cursor)?;
    Ok(Call {
        name,
        arguments,
        result,
        errno,
        ends,
    })
}

/// `EAGAIN` behind a result. A word on a line of its own would be a new event,
/// which begins with a time, so any word here belongs to the call.
fn errno(cursor: &mut Cursor<'_>) -> Parsed<Option<String>> {
    let word = cursor.peek_word()?;
    if !word.starts_with('E') {
        return Ok(None);
    }
    Ok(Some(cursor.word("an errno")?.to_owned()))
}

/// `(Resource temporarily unavailable)`: for readers only.
fn note(cursor: &mut Cursor<'_>) -> Parsed<()> {
    if cursor.eat("(")? {
        cursor.until(")", "a note")?;
    }
    Ok(())
}

/// Values with commas between them, up to `close`.
fn list(cursor: &mut Cursor<'_>, close: &str, depth: u32) -> Parsed<Vec<Expr>> {
    let mut values = Vec::new();
    if cursor.eat(close)? {
        return Ok(values);
    }
    loop {
        values.push(expression(cursor, depth)?);
        if cursor.eat(close)? {
            return Ok(values);
        }
        if !cursor.eat(",")? {
            return cursor.expected(&format!("`,` or `{close}`"));
        }
    }
}

fn expression(cursor: &mut Cursor<'_>, depth: u32) -> Parsed<Expr> {
    if depth > DEPTH_MAX {
        return cursor.error("values nested too deep");
    }
    let mut left = simple(cursor, depth)?;
    loop {
        if cursor.eat("|")? {
            let right = simple(cursor, depth)?;
            left = Expr::Or(Box::new(left), Box::new(right));
        } else if matches!(left, Expr::Word(_) | Expr::Apply(..)) && cursor.eat("=")? {
            let right = expression(cursor, depth + 1)?;
            return Ok(Expr::Assign(Box::new(left), Box::new(right)));
        } else {
            return Ok(left);
        }
    }
}

fn simple(cursor: &mut Cursor<'_>, depth: u32) -> Parsed<Expr> {
    if cursor.eat("...")? {
        return Ok(Expr::Ellipsis);
    }
    if cursor.eat("[")? {
        return list(cursor, "]", depth + 1).map(Expr::List);
    }
    if cursor.eat("{")? {
        let values = list(cursor, "}", depth + 1)?;
        return Ok(Expr::Struct(values.into_iter().map(field).collect()));
    }
    if cursor.eat("(")? {
        let inner = expression(cursor, depth + 1)?;
        cursor.want(")")?;
        return Ok(inner);
    }
    if cursor.sees("\"")? {
        return text(cursor);
    }
    if let Some(address) = address(cursor)? {
        return Ok(address);
    }
    match cursor.peek_raw() {
        Some('-') => {
            cursor.bump();
            match number(cursor)? {
                Expr::Int(value) => Ok(Expr::Int(-value)),
                other => Ok(other),
            }
        }
        Some(c) if c.is_ascii_digit() => number(cursor),
        Some(c) if c.is_ascii_alphabetic() || c == '_' => {
            let word = cursor.word("a name")?.to_owned();
            if cursor.rest().starts_with('(') {
                cursor.bump();
                return Ok(Expr::Apply(word, list(cursor, ")", depth + 1)?));
            }
            Ok(Expr::Word(word))
        }
        _ => cursor.expected("a value"),
    }
}

/// An address that stands bare, such as `192.0.2.1` or `2001:db8::1`.
fn address(cursor: &mut Cursor<'_>) -> Parsed<Option<Expr>> {
    let mut ahead = cursor.clone();
    let run = ahead.run_of(|c| c.is_ascii_hexdigit() || c == '.' || c == ':')?;
    let plausible = run.contains("::") || run.matches('.').count() == 3 || run.matches(':').count() == 7;
    match run.parse() {
        Ok(address) if plausible => {
            *cursor = ahead;
            Ok(Some(Expr::Address(address)))
        }
        _ => Ok(None),
    }
}

fn number(cursor: &mut Cursor<'_>) -> Parsed<Expr> {
    let word = cursor.word("a number")?;
    let value = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(u64::cast_signed),
        None => word
            .parse::<i64>()
            .ok()
            .or_else(|| word.parse::<u64>().ok().map(u64::cast_signed)),
    };
    match value {
        Some(value) => Ok(Expr::Int(value)),
        None => cursor.error(format!("`{word}` is no number")),
    }
}

/// `"one" "two"`, `"begins so"...`
fn text(cursor: &mut Cursor<'_>) -> Parsed<Expr> {
    let mut bytes = Vec::new();
    while cursor.eat("\"")? {
        loop {
            match cursor.bump() {
                None => return cursor.error("a quoted text has no end"),
                Some('"') => break,
                Some('\\') => escape(cursor, &mut bytes)?,
                Some(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
    }
    Ok(Expr::Text(bytes, cursor.eat("...")?))
}

fn escape(cursor: &mut Cursor<'_>, bytes: &mut Vec<u8>) -> Parsed<()> {
    let byte = match cursor.bump() {
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('r') => b'\r',
        Some('0') => 0,
        Some('x') => {
            let digits: String = [cursor.bump(), cursor.bump()].into_iter().flatten().collect();
            match u8::from_str_radix(&digits, 16) {
                Ok(byte) => byte,
                Err(_) => return cursor.error("`\\x` wants two hexadecimal digits"),
            }
        }
        Some(c) if c.is_ascii() => c as u8,
        _ => return cursor.error("nothing that can be escaped"),
    };
    bytes.push(byte);
    Ok(())
}

/// `name = value`, `name(length) = value`, `value`.
fn field(value: Expr) -> Field {
    match value {
        Expr::Assign(left, value) => match *left {
            Expr::Word(name) | Expr::Apply(name, _) => Field {
                name: Some(name),
                value: *value,
            },
            other => Field {
                name: None,
                value: other,
            },
        },
        value => Field { name: None, value },
    }
}
