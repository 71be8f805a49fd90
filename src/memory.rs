//! Whether what is asked for fits this machine, before anything is taken.

use std::fs;

use crate::failure::Failure;

/// What this machine has to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Available {
    /// Ordinary memory.
    pub(crate) memory: u64,
    /// Huge pages that nobody has; ordinary memory counts them as taken.
    pub(crate) huge_pages: u64,
}

impl Available {
    pub(crate) fn read() -> Self {
        let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            memory: available_of(&info),
            huge_pages: u64::from(crore_dpdk::FreeHugePages::read().mib) << 20,
        }
    }

    pub(crate) const fn total(self) -> u64 {
        self.memory + self.huge_pages
    }
}

/// MemAvailable, in bytes; all there is where the kernel does not say.
fn available_of(info: &str) -> u64 {
    info.lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(u64::MAX >> 1, |kib| kib * 1024)
}

/// Refuses what this machine has no memory for.
pub(crate) fn require(wanted: u64, what: &str) -> Result<(), Failure> {
    let available = Available::read();
    if wanted <= available.total() {
        return Ok(());
    }
    Err(Failure::TooLarge(format!(
        "{what} take {} MiB; this machine has {} MiB of memory available, and {} MiB in free huge pages",
        wanted >> 20,
        available.memory >> 20,
        available.huge_pages >> 20
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_does_not_say_refuses_nothing() {
        assert_eq!(available_of("MemTotal: 5 kB\nMemAvailable:       3 kB\n"), 3072);
        assert!(available_of("") > 1 << 60, "no limit known");
    }

    #[test]
    fn more_than_a_machine_can_have_is_refused() {
        let refused = require(1 << 60, "things").expect_err("an exbibyte");
        assert!(
            refused.to_string().starts_with("things take 1099511627776 MiB;"),
            "{refused}"
        );
        assert!(require(1 << 20, "things").is_ok(), "one MiB fits");
    }
}
