//! Reads a script.
//!
//! Read first: packetdrill's Syntax.md; what the FreeBSD suite's dialect adds is
//! taken too: `...` for any value of a field, control bits with the ACE counter
//! as a digit, commands without a time.

mod call;
mod packet;
#[cfg(test)]
mod tests;

use super::ast::{Action, Event, Micros, OptionLine, Script, When};
use super::cursor::{Cursor, ParseError, Parsed};

/// Reads a script's text.
pub fn parse(text: &str) -> Result<Script, ParseError> {
    let mut cursor = Cursor::new(text);
    let mut script = Script::default();
    while !cursor.at_end()? {
        if cursor.sees("--")? {
            script.options.push(option_line(&mut cursor)?);
        } else {
            script.events.push(event(&mut cursor)?);
        }
    }
    Ok(script)
}

/// `--name=value`, or `--name`.
fn option_line(cursor: &mut Cursor<'_>) -> Parsed<OptionLine> {
    let line = cursor.line();
    cursor.want("--")?;
    let name = cursor.word("the name of an option")?.to_owned();
    let mut value = None;
    if cursor.rest().starts_with('=') {
        cursor.bump();
        let text = if cursor.rest().starts_with('"') {
            cursor.bump();
            cursor.until("\"", "a quoted value")?
        } else {
            cursor.run_of(|c| !c.is_whitespace())?
        };
        value = Some(text.to_owned());
    }
    Ok(OptionLine { line, name, value })
}

fn event(cursor: &mut Cursor<'_>) -> Parsed<Event> {
    if cursor.sees("`")? {
        let line = cursor.line();
        let action = Action::Command(command(cursor)?);
        return Ok(Event {
            line,
            when: When::Relative(0),
            action,
        });
    }
    let line = cursor.line();
    let when = when(cursor)?;
    let ends = if cursor.eat("...")? {
        Some(cursor.time()?)
    } else {
        None
    };
    let action = action(cursor, ends)?;
    let outbound =
        matches!(&action, Action::Packet(packet) if packet.direction == super::ast::Direction::Outbound);
    let exact = matches!(when, When::Absolute(_) | When::Relative(_));
    if !exact && !outbound {
        return cursor.error("only a packet of the stack can be expected at any time or in a range of times");
    }
    Ok(Event { line, when, action })
}

/// `1.5`, `+1.5`, `1.5~2`, `+1.5~+2`, `*`
fn when(cursor: &mut Cursor<'_>) -> Parsed<When> {
    if cursor.eat("*")? {
        return Ok(When::Any);
    }
    let relative = cursor.eat("+")?;
    let from = cursor.time()?;
    if !cursor.eat("~")? {
        return Ok(if relative {
            When::Relative(from)
        } else {
            When::Absolute(from)
        });
    }
    if cursor.eat("+")? != relative {
        return cursor.error("a range of times has `+` at both ends or at none");
    }
    let to = cursor.time()?;
    if to < from {
        return cursor.error("this range of times ends before it begins");
    }
    Ok(if relative {
        When::RelativeRange(from, to)
    } else {
        When::AbsoluteRange(from, to)
    })
}

fn action(cursor: &mut Cursor<'_>, ends: Option<Micros>) -> Parsed<Action> {
    cursor.skip()?;
    match cursor.peek_raw() {
        _ if ends.is_some() => call::call(cursor, ends).map(Action::Call),
        Some('<' | '>') => packet::packet(cursor).map(Action::Packet),
        Some('`') => command(cursor).map(Action::Command),
        Some('%') => code(cursor).map(Action::Code),
        Some(c) if c.is_ascii_alphabetic() || c == '_' => call::call(cursor, ends).map(Action::Call),
        _ => cursor.expected("a packet, a call, a command or an assertion"),
    }
}

/// A line or more for the shell, in backquotes.
fn command(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.want("`")?;
    Ok(cursor.until("`", "a command")?.trim().to_owned())
}

/// `%{ ... }%`
fn code(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.want("%{")?;
    Ok(cursor.until("}%", "a piece of code")?.trim().to_owned())
}
