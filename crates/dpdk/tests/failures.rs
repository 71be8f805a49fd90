//! What a start that fails says. EAL starts once in a process, so each case runs
//! in a child: this binary again, told by an environment variable what to try.

mod common;

use std::process::Command;

use common::{pool, start};
use crore_dpdk::{Eal, EalConfig, Error, HugePages, Mempool, MempoolConfig, Port, PortConfig, Vdev};

const CASE: &str = "CRORE_TEST_FAILURE";

#[test]
fn a_failed_start_says_what_dpdk_said_and_what_to_do() {
    if let Ok(case) = std::env::var(CASE) {
        println!("\nERROR {}", provoke(&case));
        return;
    }
    for (case, wanted) in [
        ("cores", &["DPDK did not start", "core 1000", "taskset"][..]),
        ("missing-interface", &["net_af_packet0", "no-such-if0", "ip link"]),
        ("no-driver", &["no_such_driver0", "package dpdk"]),
        ("huge-pages", &["huge pages", "nr_hugepages"]),
        ("pool", &["packet buffers", "fewer buffers"]),
        (
            "memif-without-server",
            &["net_memif0", "starting it", "memif server", "crore-test-nobody"],
        ),
        ("too-many-queues", &["`net_null0`", "number of queues of 2000"]),
        ("mtu", &["`net_null0`", "MTU of 100"]),
    ] {
        let message = run(case);
        for part in wanted {
            assert!(message.contains(part), "{case}: {part:?} is not in: {message}");
        }
        assert!(!message.contains('\n'), "{case}: one line");
    }
}

fn run(case: &str) -> String {
    let child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .output()
        .expect("this binary runs again");
    let said = String::from_utf8_lossy(&child.stdout);
    said.lines()
        .find_map(|line| line.strip_prefix("ERROR "))
        .unwrap_or_else(|| panic!("{case}: {said} {}", String::from_utf8_lossy(&child.stderr)))
        .to_owned()
}

fn provoke(case: &str) -> Error {
    let failed = |result: Result<Eal, Error>| result.expect_err("EAL must not start");
    match case {
        "cores" => failed(Eal::start(&EalConfig {
            cores: vec![1000],
            memory_mib: 64,
            huge_pages: HugePages::Never,
            ..EalConfig::default()
        })),
        "missing-interface" => {
            let wire = crore_dpdk::Wire::af_packet("no-such-if0", 1);
            let vdev = wire.vdev(0).expect("good arguments").expect("a vdev");
            failed(start(vec![vdev], HugePages::Never))
        }
        "no-driver" => failed(start(vec![Vdev::new("no_such_driver0", "")], HugePages::Never)),
        "huge-pages" => failed(Eal::start(&EalConfig {
            memory_mib: 1 << 30,
            huge_pages: HugePages::Require,
            ..EalConfig::default()
        })),
        "pool" => {
            let eal = start(Vec::new(), HugePages::Never).expect("EAL starts");
            let config = MempoolConfig {
                buffers: 1 << 20,
                ..MempoolConfig::default()
            };
            Mempool::new(&eal, config).expect_err("two gigabytes don't fit 96 MiB")
        }
        "memif-without-server" => {
            let vdev = crore_dpdk::Wire::Memif {
                socket: format!("/tmp/crore-test-nobody-{}.sock", std::process::id()),
                role: crore_dpdk::MemifRole::Client,
                id: 0,
                zero_copy: false,
                max_frame: 1518,
                mac: None,
            };
            let vdev = vdev.vdev(0).expect("good arguments").expect("a vdev");
            let config = PortConfig {
                connect_timeout: std::time::Duration::from_millis(200),
                ..PortConfig::default()
            };
            open_fails(vdev, &config)
        }
        "too-many-queues" => open_fails(
            Vdev::new("net_null0", ""),
            &PortConfig {
                queues: 2000,
                ..PortConfig::default()
            },
        ),
        "mtu" => open_fails(
            Vdev::new("net_null0", ""),
            &PortConfig {
                mtu: 100,
                ..PortConfig::default()
            },
        ),
        other => panic!("unknown case {other}"),
    }
}

fn open_fails(vdev: Vdev, config: &PortConfig) -> Error {
    let name = vdev.name().to_owned();
    let eal = start(vec![vdev], HugePages::Never).expect("EAL starts");
    let pool = pool(&eal);
    Port::open(&eal, &name, config, &pool).expect_err("the port must not open")
}
