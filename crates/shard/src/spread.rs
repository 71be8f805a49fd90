//! Several queue pairs under one shard: for a program with fewer cores than its
//! wire has queues.
//!
//! Both ends of such a wire are Crore's, and the sender decides on which queue a
//! frame arrives; so a frame is sent on the queue on which the other end, which
//! may well have a shard for each, expects its flow.

use std::sync::Arc;

use crore_base::Instant;
use crore_nic::{Capabilities, MAX_FRAME, Nic, RxFrame, TxMeta};
use crore_wire::Steering;

/// Queue pairs of one port, as a single NIC.
pub struct Spread<N> {
    steering: Arc<Steering>,
    /// With the number of each queue.
    queues: Vec<(u16, N)>,
    /// By the number of a queue, its place in `queues`; the first for those that are not here.
    places: Vec<usize>,
    /// Where a frame is written before its queue is known.
    frame: Box<[u8]>,
    reserved: usize,
    /// Where the next burst comes from.
    turn: usize,
}

impl<N: Nic> Spread<N> {
    /// A NIC of these queues, each with its number; none of no queue.
    pub fn new(steering: Arc<Steering>, queues: Vec<(u16, N)>) -> Option<Self> {
        let highest = queues.iter().map(|&(number, _)| number).max()?;
        let place = |number| queues.iter().position(|&(n, _)| n == number).unwrap_or(0);
        Some(Self {
            places: (0..=highest).map(place).collect(),
            steering,
            queues,
            frame: vec![0; MAX_FRAME].into(),
            reserved: 0,
            turn: 0,
        })
    }
}

impl<N: Nic> Nic for Spread<N> {
    fn capabilities(&self) -> &Capabilities {
        self.queues[0].1.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, into: &mut Vec<RxFrame>) -> usize {
        for _ in 0..self.queues.len() {
            self.turn = (self.turn + 1) % self.queues.len();
            let got = self.queues[self.turn].1.rx_burst(now, into);
            if got > 0 {
                return got;
            }
        }
        0
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        // Which queue it will be shows when the frame is there: all must have room.
        let has_room = |(_, nic): &mut (u16, N)| nic.reserve(len).is_some();
        let room = len <= self.frame.len() && self.queues.iter_mut().all(has_room);
        self.reserved = if room { len } else { 0 };
        room.then(|| &mut self.frame[..len])
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        assert!(len <= self.reserved, "commit of no more than was reserved");
        self.reserved = 0;
        let frame = &self.frame[..len];
        let queue = self.steering.queue_of_sent(frame).map_or(0, usize::from);
        let place = self.places.get(queue).copied().unwrap_or(0);
        let nic = &mut self.queues[place].1;
        let room = nic.reserve(len).expect("there was room a moment ago");
        room[..len].copy_from_slice(frame);
        nic.commit(len, meta);
    }

    fn flush(&mut self, now: Instant) -> usize {
        self.queues.iter_mut().map(|(_, nic)| nic.flush(now)).sum()
    }

    fn rx_pressure(&self) -> bool {
        self.queues.iter().any(|(_, nic)| nic.rx_pressure())
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|(_, nic)| nic.next_arrival()).min()
    }
}
