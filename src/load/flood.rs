//! `crore load flood`: an honest client, and beside it SYNs from addresses that
//! nobody has.

use std::net::{IpAddr, SocketAddrV4};

use crore::config::{Config, ConfigError};
use crore::nic::Nic;
use crore::{Duration, Shard, Stack};
use crore_dpdk::PortNic;
use crore_load::{Client, FloodNic, FloodReport, LoadClient, LoadConfig, LoadReport, Pace};
use serde::Serialize;

use super::LoadArguments;
use crate::clock::Clock;
use crate::control;
use crate::failure::Failure;
use crate::forward::{open_wire, take_nic};
use crate::signals::Interrupted;
use crate::summary::print_json;
use crate::worker::secret;

/// What was found.
#[derive(Serialize)]
struct Found {
    client: LoadReport,
    flood: FloodReport,
}

/// How long the honest client's last connections may take to end.
const DRAIN: Duration = Duration::from_secs(1);

pub(super) fn flood(arguments: &LoadArguments, config: &Config, load: LoadConfig) -> Result<(), Failure> {
    let IpAddr::V4(address) = arguments.target else {
        return Err(ConfigError::of_origin("--target", "a flood wants an IPv4 address").into());
    };
    let target = SocketAddrV4::new(address, load.remote.port());
    let pace = arguments
        .spoofed_per_second
        .map(|rate| Pace::new(rate, Duration::ZERO));
    let interrupted = Interrupted::watch()?;
    let wire = open_wire(config, || {
        if arguments.control {
            control::end_with_input(&interrupted)?;
        }
        Ok(())
    })?;
    let nic = take_nic(&wire)?;
    let mut shard = shard_of(config, FloodNic::new(nic, target, pace), load)?;
    let mut clock = Clock::start();
    let mut ending = None;
    loop {
        let now = clock.now();
        shard.turn(now);
        if interrupted.asked() {
            let (stack, client) = shard.parts_mut();
            client.finish(stack, now);
        }
        if shard.service().is_finished() {
            shard.nic_mut().end();
            let began = *ending.get_or_insert(now);
            if shard.stack().unfinished() == 0 || now.since(began) >= DRAIN {
                break;
            }
        }
    }
    let found = Found {
        client: shard.service().report(clock.now()),
        flood: shard.nic().report(),
    };
    if arguments.control {
        control::stopped(&interrupted)?;
    }
    drop(shard);
    wire.close();
    print_json(&found)
}

fn shard_of(
    config: &Config,
    nic: FloodNic<PortNic>,
    load: LoadConfig,
) -> Result<Shard<FloodNic<PortNic>, LoadClient>, Failure> {
    let stack = Stack::new(config.stack_config(), nic.capabilities(), secret()?)
        .map_err(|e| Failure::run(e.to_string()))?;
    Ok(Shard::new(nic, stack, LoadClient::new(load)))
}
