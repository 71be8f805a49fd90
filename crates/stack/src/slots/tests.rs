//! The records, their lists, the pool and the flow table together against plain maps.

use std::collections::{BTreeMap, VecDeque};

use crore_tcp::PARKED_LEN;
use proptest::prelude::*;

use super::*;
use crate::FlowTable;
use crate::pool::tests::idle;
use crate::record::GENERATIONS;

const RECORDS: u32 = 8;
const PLACES: u32 = 4;
const TUPLES: u16 = 14;

/// What the application and the stack may do to a connection; `pick` chooses which one.
#[derive(Clone, Copy, Debug)]
enum Op {
    Insert,
    InsertHalfOpen,
    Activate,
    Park,
    ParkTimeWait,
    ParkHalfOpen,
    Advance,
    Tell,
    Release,
    Remove,
}

const OPS: [Op; 12] = [
    Op::Insert,
    Op::InsertHalfOpen,
    Op::InsertHalfOpen,
    Op::Activate,
    Op::Activate,
    Op::Park,
    Op::ParkTimeWait,
    Op::ParkHalfOpen,
    Op::Advance,
    Op::Tell,
    Op::Release,
    Op::Remove,
];

/// What is known of a connection without any of the structures under test.
struct Life {
    tuple: FourTuple,
    generation: u32,
    kind: Kind,
    time_wait: bool,
    resent: u8,
    told: bool,
    released: bool,
    /// The application's word, which it has only while no list needs the place.
    user: u64,
}

struct Model {
    slots: Slots,
    flows: FlowTable,
    lives: BTreeMap<u32, Life>,
    time_wait: VecDeque<u32>,
    handshakes: [VecDeque<u32>; HANDSHAKE_LISTS],
    stale: Vec<ConnId>,
    /// The generation that each slot has next.
    generations: BTreeMap<u32, u32>,
    words: u64,
}

/// One of few tuples, of both families.
fn tuple(n: u16) -> FourTuple {
    let v6 = n.is_multiple_of(2);
    let addr = |last: u16| match v6 {
        true => format!("fd00::{last:x}"),
        false => format!("10.0.0.{last}"),
    };
    FourTuple {
        local_addr: addr(1 + n % 3).parse().unwrap(),
        local_port: 80,
        remote_addr: addr(9).parse().unwrap(),
        remote_port: 4000 + n / 4,
    }
}

/// Three hashes for all tuples, at the end of the table, so that they collide and wrap.
fn hash(tuple: &FourTuple) -> u32 {
    u32::MAX - u32::from(tuple.remote_port % 3)
}

fn parked(state: State) -> Parked {
    let all = (0..=u8::MAX).map(|bits| {
        let mut bytes = [0; PARKED_LEN];
        bytes[PARKED_LEN - 1] = bits;
        Parked::from_bytes(&bytes)
    });
    all.into_iter()
        .find(|p| p.state() == state)
        .expect("it can be parked")
}

impl Model {
    /// `spent` lives of each record are over.
    fn new(spent: u32) -> Self {
        let mut slots = Slots::new(RECORDS, PLACES).expect("a little memory");
        let mut generations = BTreeMap::new();
        let half = HalfOpen::default();
        let all: Vec<_> = (0..RECORDS as u16)
            .map(|n| slots.insert_half_open(&tuple(n), half))
            .collect();
        for slot in all.into_iter().flatten() {
            slots.remove(slot);
            slots.record_mut(slot).expect("it was made").set_generation(spent);
            generations.insert(slot, spent);
        }
        Self {
            slots,
            flows: FlowTable::new(RECORDS).expect("a little memory"),
            lives: BTreeMap::new(),
            time_wait: VecDeque::new(),
            handshakes: Default::default(),
            stale: Vec::new(),
            generations,
            words: 0,
        }
    }

    /// One of those of which `fits` holds.
    fn pick(&self, pick: usize, fits: impl Fn(&Life) -> bool) -> Option<u32> {
        let fitting: Vec<_> = self
            .lives
            .iter()
            .filter(|(_, life)| fits(life))
            .map(|(&slot, _)| slot)
            .collect();
        (!fitting.is_empty()).then(|| fitting[pick % fitting.len()])
    }

    fn forget_lists(&mut self, slot: u32) {
        self.time_wait.retain(|&s| s != slot);
        for list in &mut self.handshakes {
            list.retain(|&s| s != slot);
        }
    }

    fn begin(&mut self, slot: u32, tuple: FourTuple, kind: Kind) {
        assert!(!self.lives.contains_key(&slot), "slot {slot} is given out once");
        self.flows.insert(hash(&tuple), slot);
        let life = Life {
            tuple,
            generation: self.generations[&slot],
            kind,
            time_wait: false,
            resent: 0,
            told: false,
            released: false,
            user: 0,
        };
        self.lives.insert(slot, life);
    }

    fn apply(&mut self, op: Op, pick: usize) {
        let wanted = tuple(pick as u16 % TUPLES);
        let known = self.lives.values().any(|life| life.tuple == wanted);
        let places = self.slots.pool.len() < PLACES as usize;
        match op {
            Op::Insert | Op::InsertHalfOpen if known => {}
            Op::Insert => {
                let taken = self.slots.insert(&wanted, |slot| idle(slot, wanted));
                let room = places && self.lives.len() < RECORDS as usize;
                assert_eq!(taken.is_some(), room, "refused only when all are taken");
                if let Some((slot, _)) = taken {
                    self.begin(slot, wanted, Kind::Active);
                }
            }
            Op::InsertHalfOpen => {
                let taken = self.slots.insert_half_open(&wanted, HalfOpen::default());
                assert_eq!(taken.is_some(), self.lives.len() < RECORDS as usize, "room");
                if let Some(slot) = taken {
                    self.begin(slot, wanted, Kind::HalfOpen);
                    self.handshakes[0].push_back(slot);
                }
            }
            Op::Activate if places => {
                if let Some(slot) = self.pick(pick, |life| life.kind != Kind::Active) {
                    let active = idle(slot, self.lives[&slot].tuple);
                    self.slots.activate(slot).1.fill(active);
                    self.forget_lists(slot);
                    self.change(slot, Kind::Active, false);
                }
            }
            Op::Activate => {}
            Op::Park => self.park(self.pick(pick, |l| l.kind == Kind::Active), State::Established),
            Op::ParkTimeWait => {
                let over = |life: &Life| life.kind == Kind::Active && life.released;
                self.park(self.pick(pick, over), State::TimeWait);
            }
            Op::ParkHalfOpen => {
                if let Some(slot) = self.pick(pick, |life| life.kind == Kind::HalfOpen) {
                    self.slots.park_half_open(slot, parked(State::Established));
                    self.forget_lists(slot);
                    self.change(slot, Kind::Parked, false);
                    self.lives.get_mut(&slot).expect("picked").told = true;
                }
            }
            Op::Advance => self.advance(pick),
            Op::Tell | Op::Release => self.tell(op, pick),
            Op::Remove => {
                if let Some(slot) = self.pick(pick, |_| true) {
                    self.remove(slot);
                }
            }
        }
    }

    /// The application is told of one, or gives one back, and changes its word.
    fn tell(&mut self, op: Op, pick: usize) {
        let slot = match op {
            Op::Tell => self.pick(pick, |life| life.kind == Kind::Active),
            _ => self.pick(pick, |life| life.told && !life.time_wait),
        };
        let Some(slot) = slot else { return };
        self.words += 1;
        let record = self.slots.record_mut(slot).expect("it is there");
        record.user = self.words;
        let life = self.lives.get_mut(&slot).expect("picked");
        life.user = self.words;
        if matches!(op, Op::Tell) {
            record.set_known();
            life.told = true;
        } else {
            record.set_released();
            life.released = true;
        }
    }

    fn advance(&mut self, pick: usize) {
        let Some(slot) = self.pick(pick, |life| life.kind == Kind::HalfOpen) else {
            return;
        };
        self.forget_lists(slot);
        let life = self.lives.get_mut(&slot).expect("picked");
        life.resent += 1;
        let list = usize::from(life.resent).min(HANDSHAKE_LISTS - 1);
        self.handshakes[list].push_back(slot);
        let half = self.slots.advance_half_open(slot).expect("it is half-open");
        assert_eq!(half.resent(), life.resent, "counted");
    }

    fn park(&mut self, slot: Option<u32>, state: State) {
        let Some(slot) = slot else { return };
        let index = self.slots.active_index(slot).expect("it is active");
        self.slots.park(index, parked(state));
        self.change(slot, Kind::Parked, state == State::TimeWait);
        if state == State::TimeWait {
            self.time_wait.push_back(slot);
        }
    }

    fn change(&mut self, slot: u32, kind: Kind, time_wait: bool) {
        let life = self.lives.get_mut(&slot).expect("it lives");
        if life.time_wait || life.kind == Kind::HalfOpen {
            // The list had the word's place.
            life.user = 0;
        }
        (life.kind, life.time_wait) = (kind, time_wait);
    }

    fn remove(&mut self, slot: u32) {
        let life = self.lives.remove(&slot).expect("it lives");
        self.stale.push(self.slots.id(slot));
        let active = self.slots.remove(slot);
        assert_eq!(
            active.is_some(),
            life.kind == Kind::Active,
            "its state is handed out"
        );
        assert!(active.is_none_or(|a| a.slot == slot), "and is its own");
        assert!(self.slots.remove(slot).is_none(), "twice is once");
        assert!(self.flows.remove(hash(&life.tuple), slot), "it was in the table");
        self.forget_lists(slot);
        let next = (life.generation + 1) % GENERATIONS;
        self.generations.insert(slot, next);
    }

    fn check(&self) {
        let Self { slots, lives, .. } = self;
        assert_eq!(slots.len(), lives.len(), "records in use");
        assert_eq!(slots.is_full(), lives.len() == RECORDS as usize, "full");
        let active = lives.values().filter(|life| life.kind == Kind::Active).count();
        assert_eq!(slots.pool.len(), active, "places in use");
        assert_eq!(slots.pool.is_full(), active == PLACES as usize, "pool full");
        for (&slot, life) in lives {
            self.check_life(slot, life);
        }
        for n in 0..TUPLES {
            let tuple = tuple(n);
            let expected = lives.iter().find(|(_, life)| life.tuple == tuple);
            let found = self.flows.find(hash(&tuple), |slot| slots.is_of(slot, &tuple));
            assert_eq!(found, expected.map(|(&slot, _)| slot), "looked up {tuple:?}");
        }
        for &id in &self.stale {
            assert!(slots.by_id(id).is_none(), "{id:?} is stale");
            assert!(slots.active_by_id(id).is_none(), "{id:?} is stale");
        }
        self.check_list(&slots.time_wait, &self.time_wait);
        for (list, model) in slots.handshakes.iter().zip(&self.handshakes) {
            self.check_list(list, model);
        }
        self.check_free_list();
    }

    fn check_life(&self, slot: u32, life: &Life) {
        let slots = &self.slots;
        let record = slots.record(slot).expect("it is there");
        assert_eq!(record.kind(), life.kind, "what slot {slot} stands for");
        assert_eq!(slots.tuple(slot), Some(life.tuple), "its two ends");
        assert_eq!(record.generation(), life.generation, "its generation");
        let held = life.told && !life.released;
        let id = slots.id(slot);
        assert_eq!(slots.by_id(id).is_some(), held, "a handle works while it is held");
        let active = slots.active_by_id(id);
        assert_eq!(active.is_some(), held && life.kind == Kind::Active);
        assert!(active.is_none_or(|a| a.slot == slot), "its own state");
        match life.kind {
            Kind::Active => {
                let index = slots.active_index(slot).expect("it is active");
                let active = slots.pool.get(index).expect("it is there");
                assert_eq!(
                    (active.slot, active.tuple),
                    (slot, life.tuple),
                    "they name each other"
                );
            }
            _ => assert_eq!(slots.active_index(slot), None, "it has no place in the pool"),
        }
        let half = record.half_open().map(|half| half.resent());
        assert_eq!(
            half,
            (life.kind == Kind::HalfOpen).then_some(life.resent),
            "whose turn"
        );
        let waits = record.parked().is_some_and(|p| p.state() == State::TimeWait);
        assert_eq!(waits, life.time_wait, "whether it waits");
        if !life.time_wait && life.kind != Kind::HalfOpen {
            assert_eq!(record.user, life.user, "the application's word");
        }
    }

    /// Forwards and backwards, through the records.
    fn check_list(&self, list: &Fifo, model: &VecDeque<u32>) {
        let (mut seen, mut before, mut at) = (VecDeque::new(), NIL, list.front());
        while let Some(slot) = at {
            assert!(seen.len() < RECORDS as usize, "the list has an end");
            let word = self.slots.records[slot as usize].user;
            assert_eq!((word >> 32) as u32, before, "the link back");
            seen.push_back(slot);
            before = slot;
            at = Some(word as u32).filter(|&next| next != NIL);
        }
        assert_eq!(&seen, model, "in their order");
        assert_eq!(list.len() as usize, model.len(), "how many");
    }

    fn check_free_list(&self) {
        let (mut count, mut at) = (0, self.slots.free);
        while at != NIL {
            let record = self.slots.record(at).expect("the free list stays inside");
            assert_eq!(record.kind(), Kind::Free, "slot {at} is free");
            assert!(!self.lives.contains_key(&at), "slot {at} is nobody's");
            assert_eq!(self.slots.tuple(at), None, "it has no ends");
            count += 1;
            assert!(count <= self.slots.bound(), "the free list has an end");
            at = record.index();
        }
        assert_eq!(count + self.lives.len(), self.slots.bound(), "no record is lost");
    }
}

proptest! {
    /// Protects against a handle that outlives its connection and names another
    /// one, a record or a place that is lost or given out twice, a list that a
    /// change of state tears, and a look-up that finds what is gone.
    #[test]
    fn records_pool_lists_and_table_agree_with_plain_maps(
        spent in prop_oneof![Just(0), GENERATIONS - 4..GENERATIONS],
        ops in proptest::collection::vec((0..OPS.len(), any::<u16>()), 1..160),
    ) {
        let mut model = Model::new(spent);
        for (op, pick) in ops {
            model.apply(OPS[op], usize::from(pick));
            model.check();
        }
        while let Some(slot) = model.pick(0, |_| true) {
            model.remove(slot);
        }
        model.check();
        prop_assert_eq!(model.slots.len(), 0, "everything came back");
        prop_assert_eq!(model.slots.pool.len(), 0, "the pool as well");
        prop_assert!(model.flows.is_empty(), "and the table");
    }
}

/// Protects against a record whose generation overflows into what lies beside it.
#[test]
fn generations_begin_anew_after_the_last_one_and_the_last_handle_is_stale() {
    let mut model = Model::new(GENERATIONS - 1);
    let tell = |model: &mut Model| {
        model.apply(Op::Insert, 1);
        model.apply(Op::Tell, 0);
        let (&slot, _) = model.lives.first_key_value().expect("it was inserted");
        model.slots.id(slot)
    };
    let last = tell(&mut model);
    assert_eq!(last.generation, GENERATIONS - 1, "the last one");
    assert!(model.slots.by_id(last).is_some(), "it works");
    model.remove(last.slot);
    let first = tell(&mut model);
    assert_eq!(
        (first.slot, first.generation),
        (last.slot, 0),
        "the same record again"
    );
    assert!(model.slots.by_id(first).is_some(), "the new handle works");
    assert!(model.slots.by_id(last).is_none(), "the old one does not");
    model.check();
}
