//! What the tests against a live EAL share. EAL starts once in a process, so that
//! each of them is a test binary of its own with one test in it.
#![allow(dead_code, unreachable_pub)]

use std::time::{Duration, Instant};

use crore_dpdk::{Eal, EalConfig, HugePages, Mempool, MempoolConfig, Port, PortConfig, PortNic, Vdev};
use crore_nic::{Nic, RxFrame, TxMeta};

/// Prints why a test does not run; a machine without privileges is no failure.
pub fn skipped(why: &str) {
    println!("skipped: {why}");
}

pub fn start(vdevs: Vec<Vdev>, huge_pages: HugePages) -> Result<Eal, crore_dpdk::Error> {
    Eal::start(&EalConfig {
        memory_mib: 96,
        vdevs,
        huge_pages,
        ..EalConfig::default()
    })
}

pub fn pool(eal: &Eal) -> Mempool {
    let config = MempoolConfig {
        buffers: 4095,
        cache: 64,
        ..MempoolConfig::default()
    };
    Mempool::new(eal, config).expect("a pool of 4095 buffers in 64 MiB")
}

pub fn open(eal: &Eal, name: &str, pool: &Mempool) -> Port {
    let config = PortConfig {
        rx_descriptors: 256,
        tx_descriptors: 256,
        ..PortConfig::default()
    };
    Port::open(eal, name, &config, pool).expect("the port opens")
}

pub fn nic(port: &Port) -> PortNic {
    PortNic::new(port.take_queues().remove(0)).expect("the test's thread gets an EAL id")
}

pub fn root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    })
}

pub fn now() -> crore_base::Instant {
    crore_base::Instant::ZERO
}

/// A frame with its number in it, of a length that depends on the number.
pub fn frame(number: u32) -> Vec<u8> {
    let len = 60 + (number as usize * 37) % 1440;
    let mut bytes = vec![number as u8; len];
    bytes[..12].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    // An experimental EtherType, so that no kernel answers it.
    bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The number of a frame that [`frame`] made, after checking every byte of it.
pub fn number(bytes: &[u8]) -> Option<u32> {
    let number = u32::from_be_bytes(bytes.get(14..18)?.try_into().ok()?);
    (bytes == frame(number)).then_some(number)
}

/// Queues one frame; false when there is no room now.
pub fn send(nic: &mut PortNic, bytes: &[u8]) -> bool {
    let Some(room) = nic.reserve(bytes.len()) else {
        return false;
    };
    room[..bytes.len()].copy_from_slice(bytes);
    nic.commit(bytes.len(), TxMeta::default());
    true
}

/// Does `step` until it says that it is done, for at most `seconds`.
pub fn until(seconds: u64, mut step: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < deadline {
        if step() {
            return true;
        }
    }
    false
}

/// Everything that has arrived.
pub fn receive(nic: &mut PortNic) -> Vec<RxFrame> {
    let mut frames = Vec::new();
    while nic.rx_burst(now(), &mut frames) > 0 && frames.len() < 1024 {}
    frames
}
