//! Finds libdpdk before anything is compiled against it, and stamps the versions
//! that `crore --version` prints.

use std::env;
use std::process::{Command, exit};

/// The oldest DPDK supported; `crates/dpdk-sys/build.rs` asks for the same.
const MINIMUM: &str = "22.11";
const PACKAGES: &str = "libdpdk-dev dpdk libclang-dev clang pkg-config";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    let dpdk = pkg_config::Config::new()
        .atleast_version(MINIMUM)
        .cargo_metadata(false)
        .probe("libdpdk");
    match dpdk {
        Ok(library) => println!("cargo:rustc-env=DPDK_VERSION={}", library.version),
        Err(_) => {
            eprintln!(
                "error: libdpdk {MINIMUM} or later was not found by pkg-config; Crore's drivers come from it"
            );
            eprintln!("  On Debian 12 or Ubuntu 24.04: apt-get install {PACKAGES}");
            eprintln!("  A DPDK of your own: put the folder of its libdpdk.pc into PKG_CONFIG_PATH.");
            exit(1)
        }
    }
    println!("cargo:rustc-env=CRORE_VERSION={}", crore_version());
}

/// The package's version, with the commit where there is one to name.
fn crore_version() -> String {
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // Re-stamped when the commit changes; a source archive has no .git and needs none.
    for path in [".git/HEAD", ".git/logs/HEAD"] {
        if std::path::Path::new(path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    match commit {
        Ok(output) if output.status.success() => {
            format!("{version} ({})", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => version,
    }
}
