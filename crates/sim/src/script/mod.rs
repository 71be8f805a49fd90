//! Runs scripts in packetdrill's language against one host in virtual time.
//!
//! A script says which calls an application makes, which packets come in, and
//! which packets must go out, and when. [`parse`] reads it, [`run`] plays it over
//! [`crate::posix`]; neither needs the network, root or real time.
//!
//! Read first: packetdrill's Syntax.md, and `docs/TESTING.md` for what of it
//! runs here.
//!
//! ```text
//!  text -> parser.rs (cursor.rs) -> ast.rs -> settings.rs (sysctl.rs)   options, knobs
//!            -> runner.rs         time, blocking calls, assertions (code.rs, info.rs)
//!               runner/packets.rs what goes in, what must come out (flow.rs: the
//!                                 script's numbers <-> the wire's; packet.rs, options.rs: bytes)
//!               runner/calls.rs, replies.rs  the application (symbols.rs)
//!            -> report.rs (notation.rs, compare.rs)
//! ```

pub mod ast;
mod code;
mod compare;
mod cursor;
mod flow;
mod icmp;
mod info;
mod notation;
mod options;
mod packet;
mod parser;
mod report;
mod runner;
mod settings;
mod symbols;
mod sysctl;

pub use cursor::ParseError;
pub use parser::parse;
pub use report::{Failure, Outcome, Verdict};

/// Plays a script that has been read.
pub fn run(script: &ast::Script) -> Outcome {
    runner::play(script)
}
