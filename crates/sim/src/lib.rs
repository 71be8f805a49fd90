//! Whole stacks against each other under virtual time, repeatable from a seed.
//!
//! A [`Scenario`] is drawn from a seed: a link, what goes wrong on it, the
//! configuration of two hosts, and the connections between their applications.
//! [`run`](fn@run) plays it in a [`World`] whose time jumps from event to event,
//! checks every byte and every ending, and gives a [`Report`] whose trace hash
//! is the same whenever the same seed is run. The program `vopr` runs many.
//!
//! One of the hosts may run smoltcp's TCP instead of Crore's ([`foreign`]).
#![forbid(unsafe_code)]

pub mod app;
pub mod attacker;
pub mod clock;
mod draw;
pub mod foreign;
pub mod host;
mod parking;
pub mod pattern;
pub mod plan;
pub mod posix;
pub mod referee;
mod run;
mod scenario;
pub mod script;
mod swarm;
pub mod task;
pub mod tasks;
mod trace;
mod world;

pub use host::Marks;
pub use parking::{ParkingComparison, compare_parking};
pub use run::{Failure, Report, run};
pub use scenario::{Disturbance, HostPlan, Kind, Scenario, StackPlan, Weather};
pub use trace::Trace;
pub use world::World;
