//! Why the program ends otherwise than it should.

use std::process::ExitCode;

use crore::config::ConfigError;

/// What is told on one line, and decides the exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration or the command line is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// DPDK refuses.
    #[error(transparent)]
    Dpdk(#[from] crore_dpdk::Error),
    /// This machine is too small for what was asked.
    #[error("{0}")]
    TooLarge(String),
    /// Anything else that went wrong while running.
    #[error("{0}")]
    Run(String),
}

impl Failure {
    pub(crate) fn run(message: impl Into<String>) -> Self {
        Self::Run(message.into())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::TooLarge(_) => ExitCode::from(2),
            Self::Dpdk(_) | Self::Run(_) => ExitCode::from(1),
        }
    }
}
