//! What a figure was measured on, and how much memory a process has.

use std::fs;

use serde::Serialize;

use crate::failure::Failure;

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    memory_bytes: u64,
    huge_pages_bytes: u64,
    kernel: String,
}

impl Machine {
    pub(super) fn read() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = file("/proc/cpuinfo");
        let models = || cpus.lines().filter_map(|line| line.strip_prefix("model name"));
        let memory = file("/proc/meminfo");
        Self {
            cpu: models().next().and_then(|rest| rest.split_once(':')).map_or_else(
                || std::env::consts::ARCH.into(),
                |(_, model)| model.trim().to_owned(),
            ),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib(&memory, "MemTotal:") * 1024,
            huge_pages_bytes: kib(&memory, "Hugetlb:") * 1024,
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// On one line.
    pub(super) fn in_words(&self) -> String {
        let Self {
            cpu,
            cores,
            memory_bytes,
            huge_pages_bytes,
            kernel,
        } = self;
        format!(
            "{cpu}, {cores} cores, {} MiB of memory, {} MiB of it in huge pages, Linux {kernel}",
            memory_bytes >> 20,
            huge_pages_bytes >> 20
        )
    }
}

/// What a process takes from the system: resident pages, and huge pages, which
/// the kernel counts apart.
pub(super) fn memory_of(pid: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(|e| Failure::run(format!("{path}: {e}")))?;
    Ok((kib(&status, "VmRSS:") + kib(&status, "HugetlbPages:")) * 1024)
}

/// The number behind a label of /proc's, in KiB; zero where it is not.
fn kib(text: &str, label: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_at_the_beginning_of_its_line_only() {
        let text = "VmHWM:\t  9 kB\nVmRSS:\t   35124 kB\nHugetlbPages:\t  114688 kB\n";
        assert_eq!(kib(text, "VmRSS:"), 35_124);
        assert_eq!(kib(text, "HugetlbPages:"), 114_688);
        assert_eq!(kib(text, "RSS:"), 0, "no label of its own");
    }

    #[test]
    fn this_process_has_memory() {
        assert!(memory_of(std::process::id()).is_ok_and(|bytes| bytes > 1 << 20));
    }
}
