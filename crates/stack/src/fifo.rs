//! First-in-first-out lists through the records: for waits of a fixed length
//! (TIME-WAIT, the handshakes that somebody else began) they are timers at no cost.
//!
//! Always true: the links stand in the records' word for the application, which
//! nobody uses in those states; a record is in one list at most.

use crate::record::Record;

const NIL: u32 = u32::MAX;

/// One list.
#[derive(Debug)]
pub(crate) struct Fifo {
    head: u32,
    tail: u32,
    len: u32,
}

impl Fifo {
    pub(crate) const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        len: 0,
    };

    /// The record that has waited longest.
    pub(crate) fn front(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    /// The record that comes after `slot`, which is in the list.
    pub(crate) fn after(&self, records: &[Record], slot: u32) -> Option<u32> {
        let (_, after) = split(records[slot as usize].user);
        (after != NIL).then_some(after)
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Appends `slot`.
    pub(crate) fn push(&mut self, records: &mut [Record], slot: u32) {
        records[slot as usize].user = pair(self.tail, NIL);
        match self.tail {
            NIL => self.head = slot,
            tail => {
                let (before, _) = split(records[tail as usize].user);
                records[tail as usize].user = pair(before, slot);
            }
        }
        self.tail = slot;
        self.len += 1;
    }

    /// Takes `slot` out, wherever it is.
    pub(crate) fn remove(&mut self, records: &mut [Record], slot: u32) {
        let (before, after) = split(records[slot as usize].user);
        match before {
            NIL => self.head = after,
            _ => {
                let (first, _) = split(records[before as usize].user);
                records[before as usize].user = pair(first, after);
            }
        }
        match after {
            NIL => self.tail = before,
            _ => {
                let (_, last) = split(records[after as usize].user);
                records[after as usize].user = pair(before, last);
            }
        }
        records[slot as usize].user = 0;
        self.len -= 1;
    }
}

const fn pair(before: u32, after: u32) -> u64 {
    (before as u64) << 32 | after as u64
}

const fn split(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Protects the order of expiry, and the list against a record that is
        /// taken out of its middle.
        #[test]
        fn a_list_agrees_with_a_deque(ops in proptest::collection::vec((any::<bool>(), 0u32..12), 1..300)) {
            let mut records = vec![Record::FREE; 12];
            let (mut list, mut model) = (Fifo::EMPTY, VecDeque::new());
            for (add, slot) in ops {
                match (add, model.contains(&slot)) {
                    (true, false) => {
                        list.push(&mut records, slot);
                        model.push_back(slot);
                    }
                    (false, true) => {
                        list.remove(&mut records, slot);
                        model.retain(|&s| s != slot);
                    }
                    _ => {}
                }
                prop_assert_eq!(list.front(), model.front().copied(), "the oldest");
                prop_assert_eq!(list.len() as usize, model.len(), "how many");
            }
            while let Some(slot) = list.front() {
                prop_assert_eq!(Some(slot), model.pop_front(), "in their order");
                list.remove(&mut records, slot);
            }
        }
    }
}
