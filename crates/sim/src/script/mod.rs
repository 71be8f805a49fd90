//! Runs scripts in packetdrill's language against one host in virtual time.
//!
//! A script says which calls an application makes, which packets come in, and
//! which packets must go out, and when. [`parse`] reads it; nothing here needs
//! the network, root or real time.
//!
//! Read first: packetdrill's Syntax.md, and `docs/TESTING.md` for what of it
//! runs here.

pub mod ast;
mod cursor;
mod notation;
pub mod options;
mod parser;

pub use cursor::ParseError;
pub use parser::parse;
