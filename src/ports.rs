//! `crore ports`: what EAL sees, and what each port can take over.

use std::path::PathBuf;

use clap::Args;
use crore::config::{Assignment, Config};
use crore_dpdk::{Eal, EalConfig, HugePages, LogLevel, PciDevices, Port, PortInfo};
use serde::Serialize;

mod features;

use features::{Features, Opened};

use crate::failure::Failure;
use crate::summary::print_json;
use crate::wire::{self, OpenWire};

#[derive(Debug, Args)]
pub(crate) struct PortsArguments {
    /// Open the wire of this configuration too, and show what was agreed on
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key on top of the file; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "config")]
    set: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct PortRow {
    id: u16,
    name: String,
    driver: String,
    mac: String,
    link: Link,
    mtu: u16,
    max_mtu: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    max_rx_queues: u16,
    max_tx_queues: u16,
    rss_key_bytes: u8,
    rss_table: u16,
    /// What RSS does; only where the port was opened with several queues and says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    rss: Option<RssRow>,
    /// Queues, where it was opened with several.
    #[serde(skip)]
    divides: Option<u16>,
    /// By DPDK's names.
    rx_can: Vec<String>,
    tx_can: Vec<String>,
    /// What it has, and, where the port was opened, what was asked for and agreed on.
    features: Features,
}

/// How a port divides flows among its queues.
#[derive(Debug, Serialize)]
struct RssRow {
    queues: u16,
    table: usize,
    key_bytes: usize,
    /// The key treats both directions alike and is the one that was asked for.
    key_is_ours: bool,
}

#[derive(Debug, Serialize)]
struct Link {
    up: bool,
    mbps: Option<u32>,
}

/// Lists the ports.
pub(crate) fn ports(arguments: &PortsArguments) -> Result<(), Failure> {
    let rows = match &arguments.config {
        Some(file) => {
            let sets = arguments.set.iter().map(|text| Assignment::parse("--set", text));
            let config = Config::load(file, &sets.collect::<Result<Vec<_>, _>>()?)?;
            rows_of_wire(&config)?
        }
        None => rows_of_machine()?,
    };
    if arguments.json {
        return print_json(&rows);
    }
    if rows.is_empty() {
        println!(
            "DPDK sees no port: no NIC is bound to a driver for user space (`dpdk-devbind.py --status`)."
        );
        println!(
            "A wire needs none: `crore ports --config dpdk-config/tap.toml` shows one made in software."
        );
    }
    for row in &rows {
        row.print();
    }
    Ok(())
}

/// What there is without any configuration: the NICs on the PCI bus.
fn rows_of_machine() -> Result<Vec<PortRow>, Failure> {
    let eal = Eal::start(&EalConfig {
        memory_mib: 64,
        huge_pages: HugePages::Never,
        log_level: LogLevel::Error,
        pci: PciDevices::All,
        ..EalConfig::default()
    })?;
    Ok(eal
        .ports()
        .iter()
        .map(|info| PortRow::new(info, Features::of(info, None)))
        .collect())
}

fn rows_of_wire(config: &Config) -> Result<Vec<PortRow>, Failure> {
    let wire = OpenWire::open(config)?;
    let asked = wire::port_config(config, wire::mtu(config));
    let row = |port: &Port| {
        let info = port.info()?;
        let features = Features::of(&info, Some(&Opened { config, asked, port }));
        let mut row = PortRow::new(&info, features);
        row.rss = port.rss().map(|rss| RssRow {
            queues: config.queues(),
            table: rss.table.len(),
            key_bytes: rss.key.len(),
            key_is_ours: rss.key_is_ours,
        });
        row.divides = (config.queues() > 1).then(|| config.queues());
        Ok(row)
    };
    let rows = wire.ports.iter().map(row).collect::<Result<_, Failure>>();
    wire.close();
    rows
}

impl PortRow {
    fn new(info: &PortInfo, features: Features) -> Self {
        Self {
            id: info.id,
            name: info.name.clone(),
            driver: info.driver.clone(),
            mac: info.mac.to_string(),
            link: Link {
                up: info.link.up,
                mbps: info.link.mbps,
            },
            mtu: info.mtu,
            max_mtu: info.max_mtu,
            interface: info.interface.clone(),
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            rss_key_bytes: info.rss_key_bytes,
            rss_table: info.rss_table,
            rss: None,
            divides: None,
            rx_can: info.rx_offloads(),
            tx_can: info.tx_offloads(),
            features,
        }
    }

    fn print(&self) {
        let link = match (self.link.up, self.link.mbps) {
            (true, Some(mbps)) => format!("up, {mbps} Mbit/s"),
            (true, None) => "up".into(),
            (false, _) => "down".into(),
        };
        let interface = self
            .interface
            .as_ref()
            .map(|name| format!(" on {name}"))
            .unwrap_or_default();
        let names = |list: &[String]| {
            if list.is_empty() {
                "nothing".into()
            } else {
                list.join(" ")
            }
        };
        println!("port {}: {} ({}{interface})", self.id, self.name, self.driver);
        println!("  address      {}", self.mac);
        println!("  link         {link}");
        println!("  MTU          {}", self.mtu);
        match self.rss_table {
            0 => println!("  RSS          none that can be read"),
            entries => println!(
                "  RSS          table of {entries}, key of {} bytes",
                self.rss_key_bytes
            ),
        }

        match (&self.rss, self.divides) {
            (Some(rss), _) => println!(
                "  in use       {} queues, table of {} and {} key of {} bytes read back: flows are known to come home",
                rss.queues,
                rss.table,
                if rss.key_is_ours { "our" } else { "the port's own" },
                rss.key_bytes
            ),
            (None, Some(queues)) => println!(
                "  in use       {queues} queues, divided by the sender; what comes to the wrong shard is handed on"
            ),
            (None, None) => {}
        }
        println!("  receiving    can do {}", names(&self.rx_can));
        println!("  sending      can do {}", names(&self.tx_can));
        println!("{}", self.features.table("  "));
    }
}
