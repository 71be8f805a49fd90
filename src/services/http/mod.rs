//! HTTP/1.1: GET and HEAD, keep-alive, pipelining; a body of a chosen size, or
//! the files below a directory.
//!
//! Read first: RFC 9112 (sections 2, 3, 6, 9), RFC 9110 section 15.
//!
//! Where to look: `parse` takes a request's head apart, `reply` holds the
//! responses made in advance, `files` finds files, `conn` has what a
//! connection keeps between two events, `service` puts them together.

mod conn;
mod files;
mod parse;
mod reply;
mod service;

pub use files::Root;
pub use parse::{HEAD_MAX, Method, Parsed, Request, TARGET_MAX, find_head_end, parse_head};
pub use reply::Status;
pub use service::Http;

#[cfg(test)]
mod tests;
