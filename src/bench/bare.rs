//! The wire without a stack: frames to a bare forwarder and back, on the same
//! cores, in the same run. What a stack does is a ratio of it.

use std::time::Duration;

use super::Bench;
use super::ends::Role;
use crate::failure::Failure;

/// Ethernet, IPv4, and TCP with timestamps.
const HEADERS: u32 = 14 + 20 + 32;
/// The shortest frame that is sent.
const FRAME_MIN: u32 = 64;
/// EAL's start, and the other end's.
const SLACK: Duration = Duration::from_secs(30);

/// The length of a frame with so many bytes of payload.
pub(super) fn frame_of(payload: u32) -> u32 {
    (HEADERS + payload).max(FRAME_MIN)
}

/// Frames a second that a bare forwarder sends back, with `window` of them under way.
pub(super) fn forwarder(bench: &mut Bench, frame: u32, window: u32) -> Result<f64, Failure> {
    let seconds = if bench.quick { 1 } else { 3 };
    bench.progress.step(format!(
        "the wire itself: frames of {frame} bytes, {window} under way"
    ));
    let bounce = format!("bounce --size {frame} --window {window} --seconds {seconds}");
    let (server, client) = bench.ends.pair(&Role::new("forward"), &Role::new(&bounce))?;
    let came = client.finish(SLACK + Duration::from_secs(seconds))?;
    server.stop()?;
    came["frames_per_second"]
        .as_f64()
        .filter(|&rate| rate > 0.0)
        .ok_or_else(|| Failure::run("nothing came back from the bare forwarder"))
}
