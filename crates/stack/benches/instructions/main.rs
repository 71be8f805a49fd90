//! The hot path, laid out for valgrind to count its instructions.
//!
//! `scripts/instructions` runs this program under callgrind, once for each
//! scene, collecting only inside [`measured`]; times lie on a shared machine,
//! instruction counts repeat. So everything here is fixed: keys, addresses,
//! sizes, the order of events; nothing is drawn, no clock is read.
//!
//! `instructions` alone names the scenes; `instructions SCENE` plays one, checks
//! that it did what it says, and prints how many operations [`measured`] saw.
#![forbid(unsafe_code)]

mod hosts;
mod scenes;

use std::process::ExitCode;

/// Rounds that nobody counts: caches of the program, lists and buffers have
/// their sizes afterwards.
const WARM_UP: u32 = 4;
/// Rounds that are counted.
const ROUNDS: u32 = 16;

/// Something to be counted.
pub(crate) trait Scene {
    /// Puts everything in its place for one [`Scene::run`]; not counted.
    fn prepare(&mut self);
    /// What is counted.
    fn run(&mut self);
    /// Operations in each run.
    fn operations(&self) -> u32;
}

/// The only function in which callgrind collects; its name is what the script asks for.
#[inline(never)]
fn measured(scene: &mut dyn Scene) {
    scene.run();
}

fn main() -> ExitCode {
    // cargo's own arguments (`--bench`) are none of ours.
    let wanted = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let Some(wanted) = wanted else {
        for (name, _) in scenes::ALL {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let Some((_, make)) = scenes::ALL.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("no scene is called {wanted}");
        return ExitCode::FAILURE;
    };
    let mut scene = make();
    for _ in 0..WARM_UP {
        scene.prepare();
        scene.run();
    }
    for _ in 0..ROUNDS {
        scene.prepare();
        measured(&mut *scene);
    }
    println!("operations {}", ROUNDS * scene.operations());
    ExitCode::SUCCESS
}
