//! Whether what is asked for fits this machine, before anything is taken.
//! `docs/CAPACITY.md` says where each number comes from.

use std::fs;

use crore::config::{Config, WireKind};
use crore::{Stack, StackMemory};

use crate::failure::Failure;
use crate::wire::pool_config;

/// What a configuration takes at start, or as connections come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Needs {
    /// All shards' together.
    pub(crate) stack: StackMemory,
    /// The pool of packet buffers.
    pub(crate) buffers: u64,
}

impl Needs {
    pub(crate) fn of(config: &Config) -> Self {
        let mut stack = Stack::memory(&config.stack_config());
        if config.wire.kind == WireKind::Ring {
            // Both ends are in this process.
            stack.records *= 2;
            stack.flow_table *= 2;
            stack.active *= 2;
        }
        Self {
            stack,
            buffers: pool_config(config).bytes(),
        }
    }

    pub(crate) const fn total(&self) -> u64 {
        self.stack.total() + self.buffers
    }
}

/// Refuses a configuration for which this machine has no memory.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    let needs = Needs::of(config);
    let Needs { stack, buffers } = needs;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    require(
        needs.total(),
        &format!(
            "stack.max_connections = {}, stack.max_active = {} and wire.buffers = {} (records {} MiB, flow table {} MiB, \
             active connections {} MiB, packet buffers {} MiB)",
            config.stack.max_connections,
            config.stack.max_active,
            config.wire.buffers,
            mib(stack.records),
            mib(stack.flow_table),
            mib(stack.active),
            mib(buffers),
        ),
    )
}

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

    fn config(sets: &[&str]) -> Config {
        let text = "[wire]\nkind = \"ring\"\n[net]\naddresses = [\"10.1.0.1/24\"]\n";
        let assignments: Vec<_> = sets
            .iter()
            .map(|set| crore::config::Assignment::parse("--set", set).expect("an assignment"))
            .collect();
        Config::parse("test", text, &assignments).expect("a configuration")
    }

    #[test]
    fn a_configuration_is_added_up_and_refused_in_one_line_with_its_numbers() {
        let small = Needs::of(&config(&[]));
        assert_eq!(small.stack.records, 2 * 64 * 65_536, "both ends of a ring");
        assert!(
            small.buffers > 16_383 * 2048 && small.buffers < 16_383 * 3000,
            "{small:?}"
        );
        assert!(check(&config(&[])).is_ok(), "the default fits");

        let large = config(&["stack.max_connections=1073741823", "stack.max_active=1073741823"]);
        let refused = check(&large).expect_err("no machine that tests run on has a tebibyte");
        let text = refused.to_string();
        assert!(
            !text.contains('\n') && text.contains("stack.max_connections = 1073741823"),
            "{text}"
        );
        assert!(text.contains("records 131072 MiB"), "{text}");
        assert!(matches!(refused, Failure::TooLarge(_)));
    }
}
