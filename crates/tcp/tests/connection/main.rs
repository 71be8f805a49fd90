//! How a connection behaves, seen from outside: two of them in virtual time,
//! and single ones against crafted segments.
#![allow(unreachable_pub)]

mod accurate_ecn;
mod accurate_ecn_option;
mod bbr;
mod bottleneck;
mod buffers;
mod chaos;
mod closing;
mod congestion;
mod dsack;
mod ecn;
mod fast_open;
mod handshake;
mod hostile;
mod large;
mod lone;
mod loss;
mod pair;
mod path;
mod patience;
mod states;
mod stats;

mod transfers;
mod urgent;
mod windows;
