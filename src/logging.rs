//! Log lines on standard error.

use std::io::{IsTerminal, Write};

use log::LevelFilter;

/// Starts logging. `RUST_LOG` refines what `level` says.
pub(crate) fn start(level: LevelFilter) {
    // The live line is rewritten in place on a terminal: clear it first.
    let clear = if std::io::stderr().is_terminal() {
        "\r\x1b[K"
    } else {
        ""
    };
    env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .format(move |out, record| {
            let style = out.default_level_style(record.level());
            let from = if record.target() == "dpdk" { "dpdk: " } else { "" };
            writeln!(
                out,
                "{clear}{style}{:<5}{style:#} {from}{}",
                record.level(),
                record.args()
            )
        })
        .init();
}
