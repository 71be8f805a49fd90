//! Which connection has which options.
//!
//! Read first: [`crore_tcp::Options`].
//!
//! A connection with the stack's own options costs nothing here. One with others
//! has the number of a *profile*, which it shares with all that chose the same:
//! two bytes for each slot, taken when the first profile is used. The number
//! belongs to the slot, so that it outlives parking.
//!
//! Always true: a profile is kept as long as a slot or a listener has its number;
//! there are at most [`PROFILES_MAX`]; number 0 is the stack's own.

use std::rc::Rc;

use crore_tcp::{Config, Options};

/// Different sets of options in use at once, at most: far more than a program
/// has kinds of connections, few enough to be compared one by one.
pub(crate) const PROFILES_MAX: usize = 1_024;

/// The number of a profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ProfileId(u16);

struct Profile {
    options: Options,
    config: Rc<Config>,
    /// Slots and listeners that have its number.
    users: u32,
}

/// All profiles, and who has which.
pub(crate) struct Profiles {
    base: Rc<Config>,
    /// By number, from 1.
    list: Vec<Profile>,
    /// By slot; empty until a slot has a profile.
    by_slot: Vec<u16>,
    /// Slots that have one.
    assigned: u32,
    slots_max: u32,
}

impl Profiles {
    /// None yet, for a stack with `base` and so many slots.
    pub(crate) fn new(base: Config, slots_max: u32) -> Self {
        Self {
            base: Rc::new(base),
            list: Vec::new(),
            by_slot: Vec::new(),
            assigned: 0,
            slots_max,
        }
    }

    /// What a connection is told that has no options of its own.
    pub(crate) fn base(&self) -> &Rc<Config> {
        &self.base
    }

    /// What the connection at `slot` is told.
    #[inline]
    pub(crate) fn of(&self, slot: u32) -> &Rc<Config> {
        if self.assigned == 0 {
            return &self.base;
        }
        self.get(self.id_of(slot))
    }

    /// The profile of the connection at `slot`.
    pub(crate) fn id_of(&self, slot: u32) -> ProfileId {
        ProfileId(self.by_slot.get(slot as usize).copied().unwrap_or(0))
    }

    /// What a profile says.
    pub(crate) fn get(&self, id: ProfileId) -> &Rc<Config> {
        match self.list.get(usize::from(id.0).wrapping_sub(1)) {
            Some(profile) => &profile.config,
            None => &self.base,
        }
    }

    /// The profile with just these `options`; none if there are too many others.
    /// It stays only if it is given to somebody.
    pub(crate) fn find_or_make(&mut self, options: Options) -> Option<ProfileId> {
        if options == Options::of(&self.base) {
            return Some(ProfileId::default());
        }
        let number = |at: usize| Some(ProfileId(at as u16 + 1));
        if let Some(at) = self.list.iter().position(|p| p.options == options) {
            return number(at);
        }
        let profile = Profile {
            options,
            config: Rc::new(options.apply_to(&self.base)),
            users: 0,
        };
        if self.list.len() < PROFILES_MAX {
            self.list.push(profile);
            return number(self.list.len() - 1);
        }
        let at = self.list.iter().position(|p| p.users == 0)?;
        self.list[at] = profile;
        number(at)
    }

    /// A listener has `id`.
    pub(crate) fn hold(&mut self, id: ProfileId) {
        if let Some(profile) = self.list.get_mut(usize::from(id.0).wrapping_sub(1)) {
            profile.users += 1;
        }
    }

    /// It has it no more.
    pub(crate) fn release(&mut self, id: ProfileId) {
        if let Some(profile) = self.list.get_mut(usize::from(id.0).wrapping_sub(1)) {
            profile.users -= 1;
        }
    }

    /// The connection at `slot` has `id` from now on.
    #[inline]
    pub(crate) fn assign(&mut self, slot: u32, id: ProfileId) {
        if id.0 != 0 || self.assigned != 0 {
            self.reassign(slot, id);
        }
    }

    fn reassign(&mut self, slot: u32, id: ProfileId) {
        if self.by_slot.is_empty() {
            // Address space for all; memory for those that are touched.
            self.by_slot = vec![0; self.slots_max as usize];
        }
        let Some(place) = self.by_slot.get_mut(slot as usize) else {
            return;
        };
        let old = ProfileId(core::mem::replace(place, id.0));
        if old == id {
            return;
        }
        self.assigned += u32::from(id.0 != 0);
        self.assigned -= u32::from(old.0 != 0);
        self.hold(id);
        self.release(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crore_base::Duration;
    use crore_tcp::TcpOption;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn with_timeout(seconds: u64) -> Options {
        let mut options = Options::of(&Config::default());
        options.set(TcpOption::UserTimeout(Some(Duration::from_secs(seconds))));
        options
    }

    /// Protects the memory of those who chose nothing: ten million of them must
    /// not pay for a table.
    #[test]
    fn the_stacks_own_options_cost_nothing() {
        let mut profiles = Profiles::new(Config::default(), 10_000_000);
        let own = profiles.find_or_make(Options::of(&Config::default()));
        assert_eq!(own, Some(ProfileId::default()), "no profile");
        profiles.assign(9_999_999, ProfileId::default());
        assert_eq!(profiles.by_slot.capacity(), 0, "no table");
        assert!(Rc::ptr_eq(profiles.of(7), profiles.base()), "the stack's own");
    }

    #[test]
    fn too_many_different_options_are_refused_until_some_are_given_up() {
        let mut profiles = Profiles::new(Config::default(), 4_096);
        for n in 1..=PROFILES_MAX as u32 {
            let id = profiles.find_or_make(with_timeout(u64::from(n))).expect("room");
            profiles.assign(n, id);
        }
        assert_eq!(profiles.find_or_make(with_timeout(9_999)), None, "one too many");
        let shared = profiles.find_or_make(with_timeout(5)).expect("is there");
        profiles.assign(2_000, shared);
        profiles.assign(77, ProfileId::default());
        let id = profiles
            .find_or_make(with_timeout(9_999))
            .expect("one was given up");
        profiles.assign(77, id);
        let timeout = |slot| profiles.of(slot).user_timeout;
        assert_eq!(timeout(77), Some(Duration::from_secs(9_999)), "the new one");
        assert_eq!(timeout(2_000), timeout(5), "those that share one");
        assert_eq!(timeout(78), Some(Duration::from_secs(78)), "the others stay");
    }

    proptest! {
        /// Protects a connection from another one's options, whatever comes and goes.
        #[test]
        fn everybody_has_what_was_last_chosen(ops in proptest::collection::vec((0u32..6, 0u64..9), 1..200)) {
            let mut profiles = Profiles::new(Config::default(), 6);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for (slot, seconds) in ops {
                let id = match seconds {
                    0 => ProfileId::default(),
                    _ => profiles.find_or_make(with_timeout(seconds)).unwrap(),
                };
                profiles.assign(slot, id);
                model.insert(slot, seconds);
                for (&slot, &seconds) in &model {
                    let expected = (seconds > 0).then(|| Duration::from_secs(seconds));
                    prop_assert_eq!(profiles.of(slot).user_timeout, expected, "slot {}", slot);
                }
                let users: u32 = profiles.list.iter().map(|p| p.users).sum();
                prop_assert_eq!(users as usize, model.values().filter(|&&s| s > 0).count(), "users");
                prop_assert_eq!(users, profiles.assigned, "assigned");
            }
        }
    }
}
