//! The program `crore`: serves over a DPDK port, shows itself, looks at ports.
//!
//! Where to look: `cli` has the command line; `serve`, `load`, `bench`, `demo`,
//! `relay`, `kernel`, `ports` have a command each; `control` is how one that is a child of another is driven; `run` puts ports under shards and watches over them,
//! `worker` is the loop on a shard's own thread; `wire` opens what the
//! configuration describes; `summary` says at the end what was.
//!
//! Exit codes: 0 all went well; 1 something failed while running; 2 the command
//! line or the configuration is wrong, and nothing was started.
#![forbid(unsafe_code)]

mod bench;
mod capacity;
mod cli;
mod clock;
mod control;
mod demo;
mod failure;
mod forward;
mod host;
mod kernel;
mod live;
mod load;
mod logging;
mod plan;
mod ports;
mod relay;
mod run;
mod serve;
mod signals;
mod summary;
mod wire;
mod work;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::parse();
    logging::start(arguments.log_level);
    match cli::dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("crore: {failure}");
            failure.exit_code()
        }
    }
}
