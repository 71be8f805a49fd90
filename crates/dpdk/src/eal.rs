//! EAL, the part of DPDK that holds memory, cores and devices; once a process.
//!
//! Always true: `--no-huge` and `--in-memory` exclude each other, so the choice
//! is made before start by looking at the free huge pages; nothing of a process is
//! left in a file system that another could trip over.

use core::ffi::{c_char, c_int};
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, errno_text, rte_errno};
use crate::info::{self, PortInfo};
use crate::log_capture::{self, Listening};
use crate::memory::FreeHugePages;
use crate::thread::Affinity;
use crate::vdev::Vdev;

/// Whether packet memory lies in huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HugePages {
    /// Huge pages when enough are free, else ordinary pages and one warning.
    #[default]
    Auto,
    /// Huge pages, or an error that says how to get them.
    Require,
    /// Ordinary pages.
    Never,
}

/// How much DPDK says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Warnings too.
    Warning,
    /// What each part decided; DPDK's default.
    #[default]
    Notice,
    /// Progress.
    Info,
    /// Everything that every driver can say.
    Debug,
}

/// Which PCI devices EAL looks at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum PciDevices {
    /// None: the bus is not scanned.
    #[default]
    None,
    /// These addresses, as `0000:00:04.0`.
    Allow(Vec<String>),
    /// Every device that is bound to a driver of DPDK's.
    All,
}

/// How EAL starts.
#[derive(Clone, Debug)]
pub struct EalConfig {
    /// The cores that will poll. Empty: the first that this process may run on.
    /// EAL keeps its own threads off them. Who polls pins itself, with
    /// [`pin_to_core`](crate::pin_to_core).
    pub cores: Vec<u16>,
    /// MiB of packet memory: what has to be free in huge pages, or what is taken
    /// in ordinary ones. Default 512.
    pub memory_mib: u32,
    /// Huge pages or not.
    pub huge_pages: HugePages,
    /// DPDK's verbosity; what it says goes to the `log` crate, target `dpdk`.
    pub log_level: LogLevel,
    /// Devices made in software; see [`Wire::vdev`](crate::Wire::vdev).
    pub vdevs: Vec<Vdev>,
    /// Devices on the PCI bus.
    pub pci: PciDevices,
    /// Names the files of this process. Default `crore-<process id>`.
    pub file_prefix: Option<String>,
    /// Opens DPDK's telemetry socket (`dpdk-telemetry.py`). Default false.
    pub telemetry: bool,
    /// Further arguments of EAL's, as on a command line.
    pub extra: Vec<String>,
}

impl Default for EalConfig {
    fn default() -> Self {
        Self {
            cores: Vec::new(),
            memory_mib: 512,
            huge_pages: HugePages::Auto,
            log_level: LogLevel::Notice,
            vdevs: Vec::new(),
            pci: PciDevices::None,
            file_prefix: None,
            telemetry: false,
            extra: Vec::new(),
        }
    }
}

/// EAL, up. A cheap handle: EAL shuts down when the last handle and everything
/// made from it is gone.
#[derive(Clone, Debug)]
pub struct Eal(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    huge: bool,
    vdevs: Vec<Vdev>,
    /// Last: EAL shuts down in `drop`, before this goes.
    _runtime_folder: RuntimeFolder,
}

static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts EAL.
    ///
    /// The calling thread keeps its affinity; EAL would pin it.
    ///
    /// # Errors
    /// [`Error::AlreadyStarted`] the second time, whatever became of the first;
    /// [`Error::HugePages`] and [`Error::NeedsHugePages`]; [`Error::BadArgument`]; [`Error::Eal`] with DPDK's words;
    /// [`Error::NoPort`] when a device of `vdevs` did not come up.
    pub fn start(config: &EalConfig) -> Result<Self, Error> {
        let huge = decide_huge(config)?;
        if let Some(vdev) = config.vdevs.iter().find(|vdev| vdev.needs_huge_pages() && !huge) {
            return Err(Error::NeedsHugePages {
                name: vdev.name().to_owned(),
                wanted_mib: config.memory_mib,
            });
        }
        let arguments = arguments(config, huge)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyStarted);
        }
        log_capture::install()?;
        let _listening = Listening::start();
        log::debug!(target: "dpdk", "EAL arguments: {arguments:?}");
        config.vdevs.iter().for_each(Vdev::clear_stale_socket);
        let folder = RuntimeFolder::of(config);
        init(&arguments, huge)?;
        // Nothing needs it any more unless something is in it (telemetry's socket), and a
        // process that is killed later can't remove it.
        folder.remove();
        let eal = Self(Arc::new(Inner {
            huge,
            vdevs: config.vdevs.clone(),
            _runtime_folder: folder,
        }));
        for vdev in &config.vdevs {
            eal.port_id(vdev.name())?;
        }
        Ok(eal)
    }

    /// Whether packet memory lies in huge pages.
    pub fn uses_huge_pages(&self) -> bool {
        self.0.huge
    }

    /// Every port that EAL sees, in order of id.
    pub fn ports(&self) -> Vec<PortInfo> {
        let mut ports = Vec::new();
        let mut next = 0u64;
        while next < u64::from(dpdk_sys::RTE_MAX_ETHPORTS) {
            // SAFETY: takes any port id and looks for the next valid one.
            let id = unsafe {
                dpdk_sys::rte_eth_find_next_owned_by(next as u16, dpdk_sys::RTE_ETH_DEV_NO_OWNER.into())
            };
            if id >= u64::from(dpdk_sys::RTE_MAX_ETHPORTS) {
                break;
            }
            if let Ok(port) = info::read(id as u16) {
                ports.push(port);
            }
            next = id + 1;
        }
        ports
    }

    /// The port of a device, by the vdev's name (`net_tap0`) or the PCI address.
    ///
    /// # Errors
    /// [`Error::NoPort`], naming it, when the device did not come up: EAL starts
    /// although a device failed, so this look-up is where that shows.
    pub fn port_info(&self, name: &str) -> Result<PortInfo, Error> {
        info::read(self.port_id(name)?)
    }

    pub(crate) fn port_id(&self, name: &str) -> Result<u16, Error> {
        let text = CString::new(name).map_err(|_| Error::BadArgument {
            what: format!("port name {name:?}"),
            why: "has a NUL".into(),
        })?;
        let mut id = 0u16;
        // SAFETY: a NUL-terminated name and a live integer.
        match unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(text.as_ptr(), &mut id) } {
            0 => Ok(id),
            _ => Err(Error::NoPort {
                name: self.describe(name),
                said: log_capture::said().unwrap_or_else(|| "DPDK gave no reason".into()),
                hint: crate::wire::probe_hint(name),
            }),
        }
    }
}

impl Eal {
    /// Whether the driver of this port gives back every buffer when it closes. Two
    /// don't, in DPDK 22.11: af_xdp keeps its fill ring, a zero-copy memif client what
    /// its rings hold.
    pub(crate) fn gives_back(&self, port: &PortInfo) -> bool {
        let shares = self
            .0
            .vdevs
            .iter()
            .any(|vdev| vdev.name() == port.name && vdev.needs_huge_pages());
        port.driver != "net_af_xdp" && !shares
    }

    /// A device's name with the arguments that it was given, if any.
    fn describe(&self, name: &str) -> String {
        let vdev = self.0.vdevs.iter().find(|vdev| vdev.name() == name);
        vdev.map_or_else(|| name.to_owned(), Vdev::to_string)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: EAL is up (this exists), and every port and pool holds a handle, so
        // all of them are gone when the last handle drops.
        let status = unsafe { dpdk_sys::rte_eal_cleanup() };
        if status != 0 {
            log::warn!("DPDK did not shut down cleanly: {}", errno_text(status));
        }
    }
}

fn decide_huge(config: &EalConfig) -> Result<bool, Error> {
    if config.huge_pages == HugePages::Never {
        return Ok(false);
    }
    let free = FreeHugePages::read().mib;
    if free >= config.memory_mib {
        return Ok(true);
    }
    let pages = config.memory_mib.div_ceil(2);
    if config.huge_pages == HugePages::Require {
        return Err(Error::HugePages {
            wanted_mib: config.memory_mib,
            free_mib: free,
            pages,
        });
    }
    log::warn!(
        "{free} MiB of huge pages are free and {} MiB are wanted: running on ordinary pages, slower. \
         As root: echo {pages} > /proc/sys/vm/nr_hugepages",
        config.memory_mib
    );
    Ok(false)
}

fn arguments(config: &EalConfig, huge: bool) -> Result<Vec<CString>, Error> {
    let mut list = vec!["crore".to_owned(), "-l".to_owned(), core_list(config)];
    if huge {
        list.extend(["--in-memory", "--single-file-segments"].map(str::to_owned));
    } else {
        list.extend(["--no-huge", "--no-shconf", "-m"].map(str::to_owned));
        list.push(config.memory_mib.max(16).to_string());
    }
    list.push(format!("--file-prefix={}", file_prefix(config)));
    if !config.telemetry {
        list.push("--no-telemetry".to_owned());
    }
    list.extend(log_arguments(config.log_level));
    match &config.pci {
        // Physical addresses matter to real devices only.
        PciDevices::None => list.extend(["--no-pci", "--iova-mode=va"].map(str::to_owned)),
        PciDevices::All => {}
        PciDevices::Allow(addresses) => {
            for address in addresses {
                list.extend(["-a".to_owned(), address.clone()]);
            }
        }
    }
    for vdev in &config.vdevs {
        list.push(format!("--vdev={vdev}"));
    }
    list.extend(config.extra.iter().cloned());
    list.into_iter()
        .map(|argument| {
            CString::new(argument.as_str()).map_err(|_| Error::BadArgument {
                what: format!("{argument:?}"),
                why: "an argument of EAL's can't hold a NUL".into(),
            })
        })
        .collect()
}

fn core_list(config: &EalConfig) -> String {
    if config.cores.is_empty() {
        let first = Affinity::current().and_then(|set| set.first()).unwrap_or(0);
        return first.to_string();
    }
    let cores: Vec<String> = config.cores.iter().map(u16::to_string).collect();
    cores.join(",")
}

fn file_prefix(config: &EalConfig) -> String {
    config
        .file_prefix
        .clone()
        .unwrap_or_else(|| format!("crore-{}", std::process::id()))
}

fn log_arguments(level: LogLevel) -> Vec<String> {
    match level {
        // Errors stay on at every level: they are what error messages quote.
        LogLevel::Error => vec!["--log-level=4".to_owned()],
        LogLevel::Warning => vec!["--log-level=5".to_owned()],
        LogLevel::Notice => vec!["--log-level=6".to_owned()],
        LogLevel::Info => vec!["--log-level=7".to_owned(), "--log-level=*:7".to_owned()],
        LogLevel::Debug => vec!["--log-level=8".to_owned(), "--log-level=*:8".to_owned()],
    }
}

/// The folder that EAL makes for a process and leaves behind, even with
/// `--in-memory` and after a start that failed.
#[derive(Debug)]
struct RuntimeFolder(PathBuf);

impl RuntimeFolder {
    /// As EAL chooses it: below /var/run for root, else XDG_RUNTIME_DIR, else /tmp.
    fn of(config: &EalConfig) -> Self {
        // SAFETY: no terms.
        let root = unsafe { libc::getuid() } == 0;
        let base = match (root, std::env::var_os("XDG_RUNTIME_DIR")) {
            (true, _) => PathBuf::from("/var/run"),
            (false, Some(folder)) => PathBuf::from(folder),
            (false, None) => PathBuf::from("/tmp"),
        };
        Self(base.join("dpdk").join(file_prefix(config)))
    }

    /// An empty folder only: whatever is in it, somebody may still need.
    fn remove(&self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

impl Drop for RuntimeFolder {
    fn drop(&mut self) {
        self.remove();
    }
}

fn init(arguments: &[CString], huge: bool) -> Result<(), Error> {
    // EAL permutes the array while it parses, and keeps pointers to the strings for
    // the life of the process; so both are given away. EAL starts once.
    let mut argv: Vec<*mut c_char> = arguments.iter().map(|a| a.clone().into_raw()).collect();
    argv.push(core::ptr::null_mut());
    let argv = Vec::leak(argv);
    let argc = c_int::try_from(arguments.len()).unwrap_or(c_int::MAX);
    let affinity = Affinity::current();
    // SAFETY: `argv` holds `argc` NUL-terminated strings and a terminating null, all
    // leaked; `STARTED` makes this the only call of the process.
    let status = unsafe { dpdk_sys::rte_eal_init(argc, argv.as_mut_ptr()) };
    let errno = rte_errno();
    if let Some(affinity) = affinity {
        // The thread ran with this set before, so that it can run with it again.
        let _ = affinity.apply();
    }
    if status >= 0 {
        return Ok(());
    }
    let said = log_capture::said().unwrap_or_else(|| errno_text(errno));
    Err(Error::Eal {
        hint: hint(&said, huge),
        said,
    })
}

fn hint(said: &str, huge: bool) -> String {
    let has = |text: &str| said.contains(text);
    if huge && (has("hugepage") || has("memory")) {
        "the free huge pages may have gone to another process meanwhile: free some, or run with ordinary pages"
            .into()
    } else if has("lcore") || has("CPU") || has("core") {
        "check the list of cores against those that this process may run on (`taskset -p $$`)".into()
    } else if has("file-prefix") || has("config") || has("runtime") {
        "another DPDK process may hold the same file prefix; give this one its own".into()
    } else if has("vdev") || has("devargs") || has("device") || has("driver") {
        "check the device's name and arguments, and that the drivers are installed (package dpdk)".into()
    } else {
        "a log level of `debug` shows every step of DPDK's start".into()
    }
}
