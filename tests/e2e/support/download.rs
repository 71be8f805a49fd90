//! A large file that the program serves and a kernel client fetches.

use super::{Skip, World, have, run};
use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// The file, and what it must be when it has arrived.
pub(crate) struct Download {
    root: PathBuf,
    sha256: String,
}

impl Download {
    /// A file of `mib` MiB in the world's folder.
    pub(crate) fn new(world: &World, mib: u64) -> Result<Self, Skip> {
        have("curl")?;
        let root = world.folder().join("root");
        fs::create_dir(&root).expect("the test's folder can be written");
        make_file(&root.join("large"), mib);
        let sha256 = sum_of(&run(Command::new("sha256sum").arg(root.join("large"))));
        Ok(Self { root, sha256 })
    }

    /// What makes `serve http` serve it.
    pub(crate) fn serve_keys(&self) -> String {
        format!("[serve]\nroot = {:?}\n", self.root)
    }

    /// Fetches it from the stack's `address` with curl; panics if another file arrives.
    pub(crate) fn fetch(&self, world: &World, address: &str) {
        let url = url(address, "large");
        let fetch =
            format!("set -o pipefail; curl --silent --show-error --fail --max-time 200 '{url}' | sha256sum");
        let got = sum_of(&run(world.peer.command("bash").args(["-c", &fetch])));
        assert_eq!(got, self.sha256, "{url} arrived changed");
    }
}

/// A URL on the stack.
pub(crate) fn url(address: &str, path: &str) -> String {
    if address.contains(':') {
        format!("http://[{address}]/{path}")
    } else {
        format!("http://{address}/{path}")
    }
}

fn sum_of(said: &str) -> String {
    let sum = said.split(' ').next();
    sum.expect("sha256sum prints the sum first").to_owned()
}

/// A file of `mib` MiB: a seeded pattern at the start of every fourth MiB, holes between.
fn make_file(path: &Path, mib: u64) {
    const MIB: u64 = 1 << 20;
    let mut file = File::create(path).expect("the test's folder can be written");
    file.set_len(mib * MIB).expect("a sparse file takes no room");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for start in (0..mib).step_by(4) {
        let pattern: Vec<u8> = (0..MIB / 8)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect();
        file.seek(SeekFrom::Start(start * MIB)).expect("a file can seek");
        file.write_all(&pattern).expect("there is room on the disk");
    }
}
