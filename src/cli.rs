//! The command line.

use std::path::PathBuf;
use std::sync::OnceLock;

use clap::{Args, Parser, Subcommand, ValueEnum};
use crore::config::{Assignment, Config, ConfigError};
use log::LevelFilter;

use crate::failure::Failure;
use crate::{bench, capacity, demo, forward, kernel, load, plan, ports, relay, serve};

/// A TCP stack of its own on a DPDK port.
#[derive(Debug, Parser)]
#[command(name = "crore", version = version(), arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// How much is said on standard error: off, error, warn, info, debug or trace
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: LevelFilter,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve an application on a wire until SIGINT or SIGTERM
    Serve(ServeArguments),
    /// Ask a server over a wire, and check every byte of its answers
    Load(load::LoadArguments),
    /// Measure: both ends on this machine, each on a core of its own
    Bench(bench::BenchArguments),
    /// Serve a page on a TAP device, fetch it with this machine's own TCP, and show it
    Demo(demo::DemoArguments),
    /// Show what DPDK sees, and what each port can take over
    Ports(ports::PortsArguments),
    /// Send every frame back unread: the wire's own limit, against which a stack is measured
    Forward(forward::ForwardArguments),
    /// Send frames to a forwarder, and count those that come back
    Bounce(forward::BounceArguments),
    /// Join two kernel interfaces by a bad network: loss, delay, reordering, a bottleneck
    Relay(relay::RelayArguments),
    /// Be one end of a stream with the kernel's own TCP, for `crore bench linux`
    #[command(hide = true)]
    Kernel(kernel::KernelArguments),
    /// Say what a number of connections and a rate take: cores, memory, huge pages, packet buffers
    Plan(plan::PlanArguments),
    /// Check a configuration, and start nothing
    Check(ConfigArguments),
    /// Write the tables of docs/CONFIG.md, or renew them in a file
    #[command(hide = true)]
    ConfigDoc {
        /// The file whose part between the markers is renewed; without it, standard output
        file: Option<PathBuf>,
    },
}

/// What every command that needs a configuration takes.
#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    /// The configuration, TOML (see docs/CONFIG.md and dpdk-config/)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Set one key on top of the file, as in tcp.mss=1200; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Make faults on purpose: loss=0.05,reorder=0.05,duplicate=0.05,corrupt=0.05,seed=7
    #[arg(long, value_name = "LIST")]
    faults: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// What is served
    pub(crate) service: ServiceName,
    #[command(flatten)]
    pub(crate) config: ConfigArguments,
    /// The TCP port (serve.port)
    #[arg(long)]
    port: Option<u16>,
    /// http: serve the files below this directory (serve.root)
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// http: size of the body; chargen: end each connection after so many bytes
    #[arg(long, value_name = "N")]
    bytes: Option<u64>,
    /// Only the JSON summary at the end: no live line, no summary in words
    #[arg(long)]
    pub(crate) json: bool,
    /// Answer `stats` on standard input by a line of JSON, and end when it closes
    #[arg(long)]
    pub(crate) control: bool,
}

/// The applications that come with Crore.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ServiceName {
    /// HTTP/1.1: a body of a chosen size, or files
    Http,
    /// RFC 862: what comes goes back
    Echo,
    /// RFC 863: what comes is thrown away
    Discard,
    /// RFC 864: a rotating pattern
    Chargen,
}

impl ConfigArguments {
    /// The configuration with what the command line says on top of it.
    pub(crate) fn load(&self, more: Vec<Assignment>) -> Result<Config, ConfigError> {
        let mut assignments = Vec::new();
        for text in &self.set {
            assignments.push(Assignment::parse("--set", text)?);
        }
        let faults = self.faults.iter().flat_map(|list| list.split(','));
        for text in faults.map(str::trim).filter(|text| !text.is_empty()) {
            let mut fault = Assignment::parse("--faults", text)?;
            fault.key = format!("faults.{}", fault.key);
            assignments.push(fault);
        }
        assignments.extend(more);
        Config::load(&self.config, &assignments)
    }
}

impl ServeArguments {
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let mut more = Vec::new();
        if let Some(port) = self.port {
            more.push(assignment("--port", "serve.port", i64::from(port)));
        }
        if let Some(root) = &self.root {
            more.push(assignment(
                "--root",
                "serve.root",
                root.to_string_lossy().into_owned(),
            ));
        }
        if let Some(bytes) = self.bytes {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            match self.service {
                ServiceName::Http => more.push(assignment("--bytes", "serve.http_body_bytes", bytes)),
                ServiceName::Chargen => more.push(assignment("--bytes", "serve.chargen_bytes", bytes)),
                ServiceName::Echo | ServiceName::Discard => {
                    let message = "belongs to http and chargen";
                    return Err(ConfigError::of_origin("--bytes", message));
                }
            }
        }
        self.config.load(more)
    }
}

fn assignment(option: &'static str, key: &str, value: impl Into<toml::Value>) -> Assignment {
    Assignment {
        option,
        key: key.into(),
        value: value.into(),
    }
}

/// The command line, or clap's own message and exit code 2.
pub(crate) fn parse() -> Arguments {
    Arguments::parse()
}

/// Does what the command line says.
pub(crate) fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Serve(arguments) => serve::serve(&arguments),
        Command::Load(arguments) => load::load(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Plan(arguments) => plan::plan(&arguments),
        Command::Forward(arguments) => forward::forward(&arguments),
        Command::Bounce(arguments) => forward::bounce(&arguments),
        Command::Relay(arguments) => relay::relay(&arguments),
        Command::Kernel(arguments) => kernel::kernel(&arguments),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Ports(arguments) => ports::ports(&arguments),
        Command::Check(arguments) => {
            capacity::check(&arguments.load(Vec::new())?)?;
            eprintln!("{}: fine", arguments.config.display());
            Ok(())
        }
        Command::ConfigDoc { file } => config_doc(file),
    }
}

fn config_doc(file: Option<PathBuf>) -> Result<(), Failure> {
    let Some(file) = file else {
        print!("{}", crore::config::key_tables());
        return Ok(());
    };
    let said = |e: std::io::Error| Failure::run(format!("{}: {e}", file.display()));
    let document = std::fs::read_to_string(&file).map_err(said)?;
    let renewed = crore::config::splice_key_tables(&document)
        .ok_or_else(|| Failure::run(format!("{} has no markers for the tables", file.display())))?;
    std::fs::write(&file, renewed).map_err(said)
}

/// Crore's version as its build script stamped it.
pub(crate) fn crore_version() -> &'static str {
    option_env!("CRORE_VERSION").unwrap_or(env!("CARGO_PKG_VERSION"))
}

/// Both versions: Crore's, and that of the DPDK that is running.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| format!("{}, {}", crore_version(), crore_dpdk::version()))
}
