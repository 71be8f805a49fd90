//! The shape of the workspace, checked against what cargo says it is.
//!
//! `docs/ARCHITECTURE.md` draws the layers; this is the same table for a
//! machine. A new crate must be entered here, so that nobody adds one without
//! deciding where it belongs.

use cargo_metadata::{Metadata, MetadataCommand, Package, TargetKind};
use std::{fs, path::Path};

/// Every package of the workspace and its layer; dependencies point to lower ones.
const LAYERS: &[(&str, u8)] = &[
    ("crore-base", 0),
    ("crore-netbuf", 0),
    ("crore-slab", 0),
    ("dpdk-sys", 0),
    ("crore-wire", 1),
    ("crore-tcp", 1),
    ("crore-nic", 2),
    ("crore-stack", 2),
    ("crore-dpdk", 3),
    ("crore-shard", 3),
    ("crore-load", 4),
    ("crore-sim", 5),
    ("crore-packetdrill", 5),
    ("crore", 5),
];

/// Dependencies inside one layer, each with its reason.
const SIDEWAYS: &[(&str, &str)] = &[
    // A connection speaks in segments.
    ("crore-tcp", "crore-wire"),
    // A stack draws its output into a NIC's buffers.
    ("crore-stack", "crore-nic"),
    // The simulation's host with sockets, behind a C interface.
    ("crore-packetdrill", "crore-sim"),
];

/// The only packages that may name `crore-dpdk`: programs, which choose the NIC.
const MAY_NAME_DPDK: &[&str] = &["crore"];

/// The packages in which unsafe code may live.
const MAY_BE_UNSAFE: &[&str] = &[
    "dpdk-sys",
    "crore-dpdk",
    "crore-netbuf",
    "crore-slab",
    // What C hands over, and what is handed to it.
    "crore-packetdrill",
];

fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata describes the workspace")
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(n, _)| *n == name).map(|&(_, layer)| layer)
}

/// Every (package, dependency) pair inside the workspace, development dependencies included.
fn inner_dependencies(metadata: &Metadata) -> Vec<(String, String)> {
    metadata
        .packages
        .iter()
        .flat_map(|package| {
            package
                .dependencies
                .iter()
                .filter(|dependency| layer(&dependency.name).is_some())
                .map(|dependency| (package.name.to_string(), dependency.name.clone()))
        })
        .collect()
}

#[test]
fn every_package_has_its_layer() {
    let metadata = workspace();
    for package in &metadata.packages {
        assert!(
            layer(&package.name).is_some(),
            "{} is in no layer: enter it in LAYERS of tests/architecture.rs",
            package.name
        );
    }
    for (name, _) in LAYERS {
        assert!(
            metadata.packages.iter().any(|package| package.name == name),
            "{name} has a layer but is no package of the workspace"
        );
    }
}

#[test]
fn dependencies_point_downward() {
    for (from, to) in inner_dependencies(&workspace()) {
        let (upper, lower) = (layer(&from), layer(&to));
        assert!(
            upper > lower || SIDEWAYS.contains(&(from.as_str(), to.as_str())),
            "{from} (layer {upper:?}) may not depend on {to} (layer {lower:?})"
        );
    }
}

#[test]
fn only_the_dpdk_crate_touches_the_bindings_and_only_programs_name_it() {
    for (from, to) in inner_dependencies(&workspace()) {
        match to.as_str() {
            "dpdk-sys" => assert_eq!(from, "crore-dpdk", "dpdk-sys belongs to crore-dpdk alone"),
            "crore-dpdk" => assert!(
                MAY_NAME_DPDK.contains(&from.as_str()),
                "{from} names crore-dpdk; take a Nic instead"
            ),
            _ => {}
        }
    }
}

#[test]
fn the_simulation_builds_without_dpdk() {
    let dependencies = inner_dependencies(&workspace());
    let mut reached = vec!["crore-sim".to_owned()];
    let mut next = 0;
    while let Some(name) = reached.get(next).cloned() {
        next += 1;
        for (from, to) in &dependencies {
            if *from == name && !reached.contains(to) {
                reached.push(to.clone());
            }
        }
    }
    for name in ["crore-dpdk", "dpdk-sys"] {
        assert!(
            !reached.iter().any(|r| r == name),
            "crore-sim reaches {name} through {reached:?}"
        );
    }
}

fn program_roots(package: &Package) -> impl Iterator<Item = &Path> {
    package
        .targets
        .iter()
        .filter(|target| {
            target
                .kind
                .iter()
                .any(|kind| matches!(kind, TargetKind::Lib | TargetKind::Bin | TargetKind::CDyLib))
        })
        .map(|target| target.src_path.as_std_path())
}

#[test]
fn unsafe_code_is_forbidden_outside_its_houses() {
    for package in &workspace().packages {
        if MAY_BE_UNSAFE.contains(&package.name.as_str()) {
            continue;
        }
        for root in program_roots(package) {
            let source = fs::read_to_string(root).expect("cargo named this file");
            assert!(
                source
                    .lines()
                    .any(|line| line.trim() == "#![forbid(unsafe_code)]"),
                "{} does not say #![forbid(unsafe_code)]",
                root.display()
            );
        }
    }
}

#[test]
fn every_package_takes_the_workspace_lints() {
    for package in &workspace().packages {
        let manifest = fs::read_to_string(&package.manifest_path).expect("cargo named this manifest");
        let manifest: toml::Table = manifest.parse().expect("cargo could read it");
        let inherits = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        assert_eq!(
            inherits,
            Some(true),
            "{}: write `[lints] workspace = true`",
            package.name
        );
    }
}

#[test]
fn the_licences_of_all_dependencies_are_accepted_ones() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .other_options([
            "--locked".into(),
            "--filter-platform".into(),
            "x86_64-unknown-linux-gnu".into(),
        ])
        .exec()
        .expect("cargo metadata resolves the dependencies");
    let deny =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml")).expect("deny.toml exists");
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let allowed: Vec<&str> = deny["licenses"]["allow"]
        .as_array()
        .expect("licenses.allow is a list")
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();

    let resolve = metadata.resolve.as_ref().expect("dependencies were resolved");
    for node in &resolve.nodes {
        let package = &metadata[&node.id];
        let licence = package.license.as_deref().unwrap_or("none given");
        assert!(
            licence_is_allowed(licence, &allowed),
            "{} {} is under `{licence}`, which deny.toml does not allow",
            package.name,
            package.version
        );
    }
}

/// Whether an SPDX expression can be satisfied by the licences in `allowed`.
fn licence_is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = any_of(&mut words, allowed);
    verdict && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words, allowed: &[&str]) -> bool {
    let mut verdict = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        verdict |= all_of(words, allowed);
    }
    verdict
}

fn all_of(words: &mut Words, allowed: &[&str]) -> bool {
    let mut verdict = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words, allowed);
    }
    verdict
}

fn one(words: &mut Words, allowed: &[&str]) -> bool {
    match words.next() {
        Some("(") => {
            let verdict = any_of(words, allowed);
            words.next_if_eq(&")").is_some() && verdict
        }
        Some(id) if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next().unwrap_or_default();
            allowed.contains(&format!("{id} WITH {exception}").as_str())
        }
        Some(id) => allowed.contains(&id),
        None => false,
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"];
    for (expression, verdict) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT/GPL-2.0", true),
        ("GPL-2.0 OR MIT", true),
        ("GPL-2.0 AND MIT", false),
        ("(MIT OR GPL-2.0) AND Apache-2.0", true),
        ("(MIT AND GPL-2.0) OR GPL-3.0-only", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0 WITH other-exception", false),
        ("none given", false),
        ("", false),
    ] {
        assert_eq!(
            licence_is_allowed(expression, &allowed),
            verdict,
            "{expression:?}"
        );
    }
}
