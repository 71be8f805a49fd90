//! Every script of `tests/conformance/`.

use std::fs;
use std::path::{Path, PathBuf};

use crore_sim::script;

/// All scripts below a folder, in order.
fn scripts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(scripts(&path));
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_script_can_be_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance");
    let all = scripts(&root);
    assert!(all.len() >= 34, "FreeBSD's are there: {} scripts", all.len());
    for path in all {
        let text = fs::read_to_string(&path).expect("a text");
        if let Err(error) = script::parse(&text) {
            panic!("{}:{error}", path.display());
        }
    }
}
