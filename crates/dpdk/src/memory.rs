//! How many huge pages are free, read before EAL starts, because EAL's own
//! complaint about too few of them names the wrong cause.

use std::fs;
use std::path::Path;

/// Free huge pages of every size that the kernel has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FreeHugePages {
    /// Their sum, in MiB.
    pub mib: u32,
}

impl FreeHugePages {
    /// Reads `/sys/kernel/mm/hugepages`; none when it can't be read.
    pub fn read() -> Self {
        Self::read_from(Path::new("/sys/kernel/mm/hugepages"))
    }

    fn read_from(folder: &Path) -> Self {
        let Ok(entries) = fs::read_dir(folder) else {
            return Self::default();
        };
        let kib: u64 = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let size: u64 = name
                    .to_str()?
                    .strip_prefix("hugepages-")?
                    .strip_suffix("kB")?
                    .parse()
                    .ok()?;
                let number = |file: &str| -> Option<u64> {
                    fs::read_to_string(entry.path().join(file))
                        .ok()?
                        .trim()
                        .parse()
                        .ok()
                };
                // Reserved pages count as free there, but belong to somebody.
                let free = number("free_hugepages")?.saturating_sub(number("resv_hugepages").unwrap_or(0));
                Some(size.saturating_mul(free))
            })
            .fold(0, u64::saturating_add);
        Self {
            mib: u32::try_from(kib / 1024).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_pages_are_not_free() {
        let folder = std::env::temp_dir().join(format!("crore-hugepages-{}", std::process::id()));
        let sized = folder.join("hugepages-2048kB");
        fs::create_dir_all(&sized).expect("a temporary folder");
        fs::write(sized.join("free_hugepages"), "10\n").expect("a file");
        fs::write(sized.join("resv_hugepages"), "3\n").expect("a file");
        let free = FreeHugePages::read_from(&folder);
        fs::remove_dir_all(&folder).expect("clean up");
        assert_eq!(free.mib, 14, "seven pages of 2 MiB");
        assert_eq!(
            FreeHugePages::read_from(&folder).mib,
            0,
            "a kernel without huge pages has none free"
        );
    }
}
