//! The real program against foreign peers, over every wire that this machine has.
//!
//! Each test makes network namespaces of its own, starts `crore` in one of them,
//! lets a kernel client talk to it, ends it with SIGTERM and looks at its summary:
//! exit code 0, no connection and no packet buffer left. So a leak fails every test.
//!
//! Environment: `CRORE_BIN` (the program; the one that cargo built for this test
//! when absent), `CRORE_E2E_MIB` (size of the large transfers, 1024),
//! `CRORE_E2E_SECONDS` (how long `wrk` runs, 30), `CRORE_SKIPS` (a file that is told
//! what was skipped). Needs root; see `docs/TESTING.md`.
#![forbid(unsafe_code)]

mod bench;
mod command_line;
mod faults;
mod hostile;
mod kernel_clients;
mod network;
mod shards;
mod support;
mod two_programs;
