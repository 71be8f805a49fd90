//! A server beside the client, where the wire has both of its ends in this process.

use std::path::PathBuf;

use clap::Args;
use crore::config::{Assignment, Config, ConfigError, WireKind};
use serde::Serialize;

use crate::cli::ServiceName;
use crate::failure::Failure;
use crate::run::{Ended, Launch};
use crate::serve;
use crate::summary::{Summary, WireFacts, print_json};

/// What runs on the other end of a ring wire; `crore bench` asks for it.
#[derive(Debug, Args)]
pub(super) struct OtherEnd {
    /// What is served there
    #[arg(long, hide = true, requires = "serve_config")]
    serve: Option<ServiceName>,
    /// Its configuration: address, limits, cores; the wire is the client's
    #[arg(long, hide = true, value_name = "FILE")]
    serve_config: Option<PathBuf>,
    /// A key on top of that
    #[arg(long, hide = true, value_name = "KEY=VALUE")]
    serve_set: Vec<String>,
}

/// What both ends found.
#[derive(Serialize)]
struct Both {
    server: Summary,
    load: Summary,
}

impl OtherEnd {
    pub(super) const fn is_here(&self) -> bool {
        self.serve.is_some()
    }

    /// The client's shards, behind those of the server if that is here.
    pub(super) fn before(&self, config: &Config, client: Launch) -> Result<Vec<Launch>, Failure> {
        let (Some(service), Some(file)) = (self.serve, &self.serve_config) else {
            return Ok(vec![client]);
        };
        if config.wire.kind != WireKind::Ring {
            return Err(ConfigError::of_origin("--serve", "wants a ring wire").into());
        }
        let set: Result<Vec<_>, _> = self
            .serve_set
            .iter()
            .map(|text| Assignment::parse("--serve-set", text))
            .collect();
        let theirs = Config::load(file, &set?)?;
        let port = theirs.serve.port.unwrap_or(serve::usual_port(service));
        let server = serve::launch(service, &theirs, port).on(&theirs.eal.cores);
        Ok(vec![server, client.on(&config.eal.cores)])
    }
}

/// Says what both found, and whether either leaked.
pub(super) fn tell(wire: Option<WireFacts>, ended: Ended) -> Result<(), Failure> {
    let (server, client) = ended.split();
    let client = client.ok_or_else(|| Failure::run("no client ran"))?;
    let both = Both {
        server: Summary::new("serve", wire, server)?,
        load: Summary::new("load", None, client)?.of_client(),
    };
    print_json(&both)?;
    both.server.check()?;
    both.load.check()
}
