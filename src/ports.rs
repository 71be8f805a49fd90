//! `crore ports`: what EAL sees, and what each port can take over.

use std::path::PathBuf;

use clap::Args;
use crore::config::{Assignment, Config};
use crore_dpdk::{Eal, EalConfig, HugePages, LogLevel, Offloads, PciDevices, Port, PortInfo};
use serde::Serialize;

use crate::failure::Failure;
use crate::summary::print_json;
use crate::wire::OpenWire;

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
    /// What was asked for and agreed on; only where the port was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    checksums: Option<Checksums>,
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

#[derive(Debug, Serialize)]
struct Checksums {
    asked: [&'static str; 3],
    got: Vec<&'static str>,
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
    Ok(eal.ports().iter().map(|info| PortRow::new(info, None)).collect())
}

fn rows_of_wire(config: &Config) -> Result<Vec<PortRow>, Failure> {
    let wire = OpenWire::open(config)?;
    let row = |port: &Port| {
        let mut row = PortRow::new(&port.info()?, Some(port.offloads()));
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
    fn new(info: &PortInfo, agreed: Option<Offloads>) -> Self {
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
            checksums: agreed.map(Checksums::new),
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
        println!("  MTU          {}, at most {}", self.mtu, self.max_mtu);
        println!(
            "  queues       at most {} for receiving, {} for sending",
            self.max_rx_queues, self.max_tx_queues
        );
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
        if let Some(Checksums { asked, got }) = &self.checksums {
            let got = if got.is_empty() {
                "none: software does them".into()
            } else {
                got.join(", ")
            };
            println!("  checksums    asked for {}; got {got}", asked.join(", "));
        }
    }
}

impl Checksums {
    fn new(agreed: Offloads) -> Self {
        let Offloads {
            rx_checksum,
            tx_ipv4_checksum,
            tx_tcp_checksum,
        } = agreed;
        let all = ["receive", "send IPv4", "send TCP"];
        let got = all
            .into_iter()
            .zip([rx_checksum, tx_ipv4_checksum, tx_tcp_checksum]);
        Self {
            asked: all,
            got: got.filter(|&(_, got)| got).map(|(name, _)| name).collect(),
        }
    }
}
