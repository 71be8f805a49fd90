//! The wires that end in the kernel of this host: TAP, AF_PACKET and AF_XDP. A
//! responder of a few lines answers ARP and ICMP echo, and the kernel's own `ping`
//! has to be content.
//!
//! Each runs in a network namespace of its own (this binary again, under
//! `unshare`), so that nothing is left behind.

mod common;

use std::process::{Command, Stdio};

use common::{nic, now, receive, root, send, skipped, start};
use crore_base::MacAddr;
use crore_dpdk::{HugePages, Mempool, MempoolConfig, Port, PortConfig, PortNic, Wire};
use crore_nic::Nic;

const CASE: &str = "CRORE_TEST_WIRE";
const ROOTLESS: &str = "CRORE_TEST_ROOTLESS";
const HOST: &str = "10.213.0.1";
const PORT: [u8; 4] = [10, 213, 0, 2];
const JUMBO: u16 = 9000;

#[test]
fn the_kernel_pings_a_port_and_every_buffer_comes_back() {
    if let Ok(case) = std::env::var(CASE) {
        return end(&case);
    }
    let have = |tool: &str| {
        Command::new(tool)
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .is_ok()
    };
    for tool in ["ip", "ping", "unshare"] {
        if !have(tool) {
            return skipped(&format!("no `{tool}`"));
        }
    }
    let namespace: &[&str] = if root() { &["-n"] } else { &["-rn"] };
    let possible = Command::new("unshare").args(namespace).arg("true").status();
    if !possible.is_ok_and(|status| status.success()) {
        return skipped("a network namespace can't be made here");
    }
    for case in ["tap", "af_packet", "af_packet_jumbo", "af_xdp"] {
        let child = Command::new("unshare")
            .args(namespace)
            .arg(std::env::current_exe().expect("this binary"))
            .args(["--nocapture", "--test-threads=1"])
            .env(CASE, case)
            .env(ROOTLESS, if root() { "0" } else { "1" })
            .output()
            .expect("this binary runs again");
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&child.stdout),
            String::from_utf8_lossy(&child.stderr)
        );
        for line in said
            .lines()
            .filter(|line| line.starts_with("skipped") || line.starts_with("info"))
        {
            println!("{case}: {line}");
        }
        assert!(child.status.success(), "{case}: {}\n{said}", child.status);
    }
}

fn ip(arguments: &str) -> bool {
    let status = Command::new("ip").args(arguments.split_whitespace()).status();
    status.is_ok_and(|status| status.success())
}

fn end(case: &str) {
    let mac = MacAddr([2, 0, 0, 0xc0, 0x4e, 1]);
    let veth = |mtu: u16| {
        assert!(ip("link add cr0 type veth peer name cr1"), "a veth pair");
        assert!(ip(&format!("link set cr0 mtu {mtu} up")) && ip(&format!("link set cr1 mtu {mtu} up")));
    };
    let (wire, host) = match case {
        "tap" => (
            Wire::Tap {
                iface: "cr1".into(),
                mac: Some(mac),
            },
            "cr1",
        ),
        "af_xdp" => {
            veth(1500);
            (Wire::af_xdp("cr0", 1), "cr1")
        }
        "af_packet_jumbo" => {
            veth(JUMBO);
            (Wire::af_packet("cr0", 1), "cr1")
        }
        _ => {
            veth(1500);
            (Wire::af_packet("cr0", 1), "cr1")
        }
    };
    let vdev = wire.vdev(0).expect("good arguments").expect("a vdev");
    let name = vdev.name().to_owned();
    let eal = match start(vec![vdev], HugePages::Never) {
        Ok(eal) => eal,
        Err(error) => return skipped(&error.to_string()),
    };
    let mtu = if case == "af_packet_jumbo" { JUMBO } else { 1500 };
    let pool = Mempool::new(&eal, MempoolConfig::for_wire(4095, &wire, mtu)).expect("a pool");
    let config = PortConfig {
        mtu,
        rx_descriptors: 256,
        tx_descriptors: 256,
        ..PortConfig::default()
    };
    let port = match Port::open(&eal, &name, &config, &pool) {
        Ok(port) => port,
        // Its memory is locked, which takes more than a namespace of one's own.
        Err(error) if case == "af_xdp" && std::env::var(ROOTLESS).is_ok_and(|v| v == "1") => {
            return skipped(&error.to_string());
        }
        Err(error) => panic!("{error}"),
    };
    println!("\ninfo: {:?}", port.info());
    println!(
        "info: mtu {} offloads {:?} link {:?}",
        port.mtu(),
        port.offloads(),
        port.link()
    );
    assert!(ip(&format!("addr add {HOST}/24 dev {host}")), "an address");
    assert!(ip(&format!("link set {host} up")), "the host's end is up");
    let mut nic = nic(&port);
    ping(&mut nic, 56);
    if case == "af_packet_jumbo" {
        ping(&mut nic, usize::from(JUMBO) - 28);
    } else {
        ping(&mut nic, 1472);
    }
    println!("info: {:?}", port.stats());
    let gives_back = port.gives_back_all();
    drop((nic, port));
    if gives_back {
        assert_eq!(pool.in_use(), 0, "every buffer came back");
    }
}

fn ping(nic: &mut PortNic, size: usize) {
    let target = PORT.map(|byte| byte.to_string()).join(".");
    let mut ping = Command::new("ping")
        .args([
            "-n",
            "-M",
            "do",
            "-c",
            "3",
            "-i",
            "0.2",
            "-W",
            "2",
            "-s",
            &size.to_string(),
            &target,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ping runs");
    let mut status = None;
    common::until(20, || {
        for frame in receive(nic) {
            if let Some(answer) = answer(&frame.data, nic.capabilities().mac) {
                assert!(send(nic, &answer), "room for an answer");
            }
        }
        nic.flush(now());
        std::thread::sleep(std::time::Duration::from_micros(200));
        status = ping.try_wait().expect("ping can be waited for");
        status.is_some()
    });
    let _ = ping.kill();
    let output = ping.wait_with_output().expect("ping's output");
    assert!(
        status.is_some_and(|status| status.success()),
        "ping of {size} bytes: {status:?} {}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// ARP's answer, or ICMP's echo; nothing else.
fn answer(frame: &[u8], mac: MacAddr) -> Option<Vec<u8>> {
    let mut reply = frame.to_vec();
    let sender: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    reply[..6].copy_from_slice(&sender);
    reply[6..12].copy_from_slice(&mac.0);
    match frame.get(12..14)? {
        [8, 6] if frame.get(20..22)? == [0, 1] && frame.get(38..42)? == PORT => {
            reply[21] = 2;
            reply[22..28].copy_from_slice(&mac.0);
            reply[28..32].copy_from_slice(&PORT);
            reply[32..38].copy_from_slice(&sender);
            reply[38..42].copy_from_slice(frame.get(28..32)?);
        }
        [8, 0] if frame.get(23)? == &1 && frame.get(30..34)? == PORT && frame.get(34)? == &8 => {
            reply[26..30].copy_from_slice(&PORT);
            reply[30..34].copy_from_slice(frame.get(26..30)?);
            reply[34] = 0;
            // RFC 1624: the type went down by 8 in the upper byte, so the sum goes up.
            let sum = u32::from(u16::from_be_bytes([frame[36], frame[37]])) + 0x0800;
            let sum = (sum & 0xffff) + (sum >> 16);
            reply[36..38].copy_from_slice(&(sum as u16).to_be_bytes());
        }
        _ => return None,
    }
    Some(reply)
}
