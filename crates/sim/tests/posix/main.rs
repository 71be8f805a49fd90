//! The host with POSIX sockets, driven as a script would drive it: calls, and
//! packets in and out, in virtual time.

mod anything;
mod blocking;
mod calls;
mod peer;
