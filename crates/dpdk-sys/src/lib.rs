//! DPDK as Rust sees it: what bindgen made of the allowlist in `build.rs`, and
//! `crore_*`, the C shim around DPDK's static inlines (`shim/shim.h`).
//!
//! Read first: the DPDK programmer's guide, chapters "Environment Abstraction
//! Layer", "Mempool Library", "Mbuf Library" and "Poll Mode Driver".
//!
//! Nothing here is safe to call without reading DPDK's manual; `crore-dpdk` is
//! the only crate that does.
#![allow(non_camel_case_types, non_upper_case_globals, non_snake_case)]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]
#![allow(unsafe_op_in_unsafe_fn, rustdoc::all)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

/// The release that the bindings were made from.
pub const BOUND_VERSION: &str = env!("DPDK_VERSION");
