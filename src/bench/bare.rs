//! The wire without a stack: frames to a bare forwarder and back, on the same
//! cores, in the same run. What a stack does is a ratio of it.

use std::time::Duration;

use serde_json::Value;

use super::ends::{Role, finish};
use super::{Bench, number};
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

/// What the wire alone does.
#[derive(Clone, Debug)]
pub(super) struct Bare {
    /// Frames that came back.
    pub(super) per_second: f64,
    /// Known for a window of one only.
    pub(super) latency: Value,
}

/// Sends frames to a bare forwarder, `window` of them under way. A wire that was
/// measured so already is not measured again.
pub(super) fn forwarder(bench: &mut Bench, frame: u32, window: u32) -> Result<Bare, Failure> {
    if let Some(known) = bench.bare.get(&(frame, window)) {
        return Ok(known.clone());
    }
    let seconds = if bench.quick { 1 } else { 3 };
    bench.progress.step(format!(
        "the wire itself: frames of {frame} bytes, {window} under way"
    ));
    let bounce = format!("bounce --size {frame} --window {window} --seconds {seconds}");
    let (server, client) = bench.ends.pair(&Role::new("forward"), &Role::new(&bounce))?;
    let (came, _) = finish(client, server, SLACK + Duration::from_secs(seconds))?;
    let per_second = number(&came, "frames_per_second");
    if per_second <= 0.0 {
        return Err(Failure::run("nothing came back from the bare forwarder"));
    }
    let bare = Bare {
        per_second,
        latency: came["latency"].clone(),
    };
    bench.bare.insert((frame, window), bare.clone());
    Ok(bare)
}
