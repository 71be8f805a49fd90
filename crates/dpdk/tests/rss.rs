//! RSS as a driver tells it, from a device that has a table and a key and no wire.

mod common;

use common::{pool, start};
use crore_dpdk::{HugePages, Port, PortConfig, Vdev};

#[test]
fn the_table_and_the_key_are_read_back_where_there_are_queues_to_divide_among() {
    let vdevs = ["net_null0", "net_null1"]
        .map(|name| Vdev::new(name, "no-rx=1"))
        .to_vec();
    let eal = start(vdevs, HugePages::Never).expect("EAL starts with devices of no wire");
    let pool = pool(&eal);
    let open = |name, queues| {
        let config = PortConfig {
            queues,
            rx_descriptors: 64,
            tx_descriptors: 64,
            ..PortConfig::default()
        };
        Port::open(&eal, name, &config, &pool)
    };
    let port = open("net_null0", 1).expect("one queue");
    assert_eq!(port.rss(), None, "nothing to divide among");
    drop(port);

    let port = open("net_null1", 2).expect("two queues");
    let info = port.info().expect("it answers");
    let rss = port.rss().expect("a null device has RSS");
    assert_eq!(rss.table.len(), usize::from(info.rss_table), "the whole table");
    assert_eq!(rss.key.len(), 40, "the usual key");
    // It keeps the key that it was born with, whatever it is asked for.
    assert!(!rss.key_is_ours, "read, not believed");
    assert_ne!(rss.key, [0; 40], "a real one");
}
