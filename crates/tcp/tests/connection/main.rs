//! How a connection behaves, seen from outside: two of them in virtual time,
//! and single ones against crafted segments.
#![allow(unreachable_pub)]

mod pair;

mod transfers;
