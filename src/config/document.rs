//! The tables of `docs/CONFIG.md`, made from the keys themselves.

use std::fmt::Write as _;

use super::keys::{Eal, Faults, Net, Serve, StackLimits, Tcp, Wire, for_each_section};
use super::section::{Key, Section};

/// What stands before the generated part of the document.
const BEGIN: &str = "<!-- keys: begin (made by `crore config-doc`; a test compares) -->";
/// What stands after it.
const END: &str = "<!-- keys: end -->";

/// One table for each section, as Markdown.
pub fn key_tables() -> String {
    let mut out = String::new();
    macro_rules! tables {
        ($($field:ident : $ty:ty),+) => { $(table::<$ty>(&mut out);)+ };
    }
    for_each_section!(tables);
    out
}

/// `document` with its part between the markers replaced by the tables; `None`
/// when it has no markers.
pub fn splice_key_tables(document: &str) -> Option<String> {
    let (head, rest) = document.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n\n{}\n{END}{tail}", key_tables().trim()))
}

fn table<S: Section>(out: &mut String) {
    let doc = one_line(S::DOC);
    let _ = write!(out, "## `[{}]`\n\n{doc}\n\n", S::NAME);
    out.push_str("| key | unit | range | default | what it does |\n| --- | --- | --- | --- | --- |\n");
    for key in S::keys() {
        row(out, &key);
    }
    out.push('\n');
}

fn row(out: &mut String, key: &Key) {
    let default = match &key.default {
        Some(value) => format!("`{value}`"),
        None => "absent".into(),
    };
    let unit = if key.unit.is_empty() { "-" } else { key.unit };
    let doc = one_line(key.doc);
    let range = key.range;
    let _ = writeln!(out, "| `{}` | {unit} | {range} | {default} | {doc} |", key.name);
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
