//! Finds libdpdk, binds the allowlist below and compiles the shim.
//!
//! What is missing is named in one message with the packages that bring it;
//! nothing panics on the way.

use std::env;
use std::path::PathBuf;
use std::process::{Command, exit};

/// The oldest release supported; later LTS releases are taken as they come.
const MINIMUM: &str = "22.11";
const PACKAGES: &str = "libdpdk-dev dpdk libclang-dev clang pkg-config";

/// Every function of DPDK's that Crore calls directly. The static inlines stand
/// in `shim/shim.h` as `crore_*`.
const FUNCTIONS: &[&str] = &[
    "crore_.*",
    "rte_eal_(init|cleanup)",
    "rte_version",
    "rte_strerror",
    "rte_thread_(register|unregister)",
    "rte_pktmbuf_(pool_create|free_bulk)",
    "rte_mempool_(free|avail_count|in_use_count)",
    "rte_ring_(create|free)",
    "rte_eth_from_rings",
    "rte_eth_find_next_owned_by",
    "rte_eth_dev_(get_port_by_name|get_name_by_port|info_get|configure|adjust_nb_rx_tx_desc|start|stop|close)",
    "rte_eth_dev_(socket_id|get_mtu|set_mtu|rx_offload_name|tx_offload_name)",
    "rte_eth_(macaddr_get|link_get_nowait|rx_queue_setup|tx_queue_setup)",
    "rte_eth_(promiscuous|allmulticast)_enable",
    "rte_eth_dev_rss_(hash_conf_get|reta_query)",
    "rte_eth_(stats_get|stats_reset|xstats_get|xstats_get_names)",
];

const TYPES: &[&str] = &[
    "crore_.*",
    "rte_eth_(conf|dev_info|link|stats|xstat|xstat_name|rss_conf|rss_reta_entry64)",
    "rte_ether_addr",
];

const VARIABLES: &[&str] = &[
    "CRORE_.*",
    "RTE_MAX_ETHPORTS",
    "RTE_ETH_DEV_NO_OWNER",
    "RTE_ETH_XSTATS_NAME_SIZE",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_ETH_LINK_(UP|FULL_DUPLEX)",
    "RTE_ETH_RETA_GROUP_SIZE",
    "RING_F_S[PC]_(ENQ|DEQ)",
];

/// Nothing reaches into these from Rust.
const OPAQUE: &[&str] = &[
    "rte_mbuf",
    "rte_mempool",
    "rte_ring",
    "rte_device",
    "FILE",
    "_IO_FILE",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=shim");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");

    let version = probe();
    let flags = cflags();
    link();
    shim(&flags);
    bind(&flags);
    println!("cargo:version={version}");
    println!("cargo:rustc-env=DPDK_VERSION={version}");
}

fn fail(what: &str) -> ! {
    eprintln!("error: {what}");
    eprintln!("  On Debian 12 or Ubuntu 24.04: apt-get install {PACKAGES}");
    eprintln!("  A DPDK of your own: put the folder of its libdpdk.pc into PKG_CONFIG_PATH.");
    exit(1)
}

fn probe() -> String {
    // Link lines are printed below: pkg-config's own list names every library of DPDK.
    let found = pkg_config::Config::new()
        .atleast_version(MINIMUM)
        .cargo_metadata(false)
        .probe("libdpdk");
    match found {
        Ok(library) => library.version,
        Err(pkg_config::Error::ProbeFailure { .. } | pkg_config::Error::Failure { .. }) => fail(&format!(
            "libdpdk {MINIMUM} or later was not found by pkg-config; Crore's drivers come from it"
        )),
        Err(other) => fail(&format!("libdpdk could not be looked for: {other}")),
    }
}

/// DPDK's headers need `-include rte_config.h` and a minimum `-march`, which the
/// pkg-config crate does not hand on.
fn cflags() -> Vec<String> {
    let tool = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    match Command::new(&tool).args(["--cflags", "libdpdk"]).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        _ => fail(&format!("`{tool} --cflags libdpdk` failed")),
    }
}

/// Drivers are opened by EAL from its plugin folder, so few libraries are linked.
fn link() {
    if let Ok(folder) = pkg_config::get_variable("libdpdk", "libdir") {
        println!("cargo:rustc-link-search=native={folder}");
    }
    for library in ["ethdev", "net_ring", "mbuf", "mempool", "ring", "eal"] {
        println!("cargo:rustc-link-lib=dylib=rte_{library}");
    }
}

fn shim(flags: &[String]) {
    let mut build = cc::Build::new();
    build.file("shim/shim.c").opt_level(3).warnings(false);
    for flag in flags {
        build.flag(flag);
    }
    if let Err(error) = build.try_compile("crore_dpdk_shim") {
        fail(&format!(
            "the shim around DPDK's inlines did not compile: {error}"
        ));
    }
}

fn bind(flags: &[String]) {
    let builder = bindgen::Builder::default()
        .header("shim/shim.h")
        .clang_args(flags)
        .derive_default(true)
        .layout_tests(false)
        .generate_comments(false)
        .merge_extern_blocks(true)
        .prepend_enum_name(false)
        .default_enum_style(bindgen::EnumVariation::Consts);
    let builder = FUNCTIONS.iter().fold(builder, |b, f| b.allowlist_function(f));
    let builder = TYPES.iter().fold(builder, |b, t| b.allowlist_type(t));
    let builder = VARIABLES.iter().fold(builder, |b, v| b.allowlist_var(v));
    let builder = OPAQUE.iter().fold(builder, |b, t| b.opaque_type(t));

    // bindgen panics when it can't load libclang.
    std::panic::set_hook(Box::new(|_| {}));
    let bindings = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.generate()));
    drop(std::panic::take_hook());
    let bindings = match bindings {
        Ok(Ok(bindings)) => bindings,
        Ok(Err(error)) => fail(&format!("DPDK's headers could not be bound: {error}")),
        Err(_) => fail("libclang was not found; bindgen reads DPDK's headers with it"),
    };
    let folder = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    if let Err(error) = bindings.write_to_file(folder.join("bindings.rs")) {
        fail(&format!("the bindings could not be written: {error}"));
    }
}
