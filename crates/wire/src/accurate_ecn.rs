//! The option of accurate ECN: how many bytes came with which mark.
//!
//! Read first: RFC 9768 section 3.2.3.
//!
//! Two kinds differ in the order of the three counters, so that the ones that
//! matter can stand in front, and the rest be left out.

/// The number of the kind whose first counter is that of ECT(0).
pub(crate) const ECT0_FIRST: u8 = 172;
/// The number of the kind whose first counter is that of ECT(1).
pub(crate) const ECT1_FIRST: u8 = 174;

/// Which counter stands first; that of CE is the second, the other one the third.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum AccEcnOrder {
    /// AccECN0: EE0B, ECEB, EE1B.
    Ect0First = ECT0_FIRST,
    /// AccECN1: EE1B, ECEB, EE0B.
    Ect1First = ECT1_FIRST,
}

/// An AccECN option: up to three counters of 24 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccEcnOption {
    order: AccEcnOrder,
    len: u8,
    /// In the option's order. Those from `len` on are zero, so that equality may be
    /// derived.
    fields: [[u8; 3]; Self::FIELDS],
}

impl AccEcnOption {
    /// The most that one has.
    pub const FIELDS: usize = 3;

    //= rfc9768#section-3.2.3.1 (MUST)
    // What goes out of each counter are its 24 low bits.
    /// The first of `counters`, which stand in the order's order, at most three.
    pub fn new(order: AccEcnOrder, counters: &[u32]) -> Self {
        let mut option = Self {
            order,
            len: 0,
            fields: [[0; 3]; Self::FIELDS],
        };
        for (field, counter) in option.fields.iter_mut().zip(counters) {
            let [_, high, middle, low] = counter.to_be_bytes();
            *field = [high, middle, low];
            option.len += 1;
        }
        option
    }

    //= rfc9768#section-3.2.3 (MUST)
    // Every length is read: as many whole counters as there are, at most three; the
    // rest is padding.
    /// What stands behind kind and length.
    pub(crate) fn parse(order: AccEcnOrder, body: &[u8]) -> Self {
        let (whole, _) = body.as_chunks::<3>();
        let mut option = Self::new(order, &[]);
        for (field, bytes) in option.fields.iter_mut().zip(whole) {
            *field = *bytes;
            option.len += 1;
        }
        option
    }

    /// How it is ordered.
    pub const fn order(&self) -> AccEcnOrder {
        self.order
    }

    /// How many counters it has.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The counter of ECT(0), if it is there.
    pub fn e0b(&self) -> Option<u32> {
        self.field(match self.order {
            AccEcnOrder::Ect0First => 0,
            AccEcnOrder::Ect1First => 2,
        })
    }

    /// The counter of CE, if it is there.
    pub fn ceb(&self) -> Option<u32> {
        self.field(1)
    }

    /// The counter of ECT(1), if it is there.
    pub fn e1b(&self) -> Option<u32> {
        self.field(match self.order {
            AccEcnOrder::Ect0First => 2,
            AccEcnOrder::Ect1First => 0,
        })
    }

    /// The length in a header of one with `fields` counters, padded to a multiple of 4.
    pub const fn padded_len(fields: usize) -> usize {
        (2 + 3 * fields).next_multiple_of(4)
    }

    /// Its length in a header, padded to a multiple of 4.
    pub const fn encoded_len(&self) -> usize {
        Self::padded_len(self.len())
    }

    /// The same with as many of its counters as fit into `room` bytes; none if not
    /// even an empty one does.
    pub fn shortened(mut self, room: usize) -> Option<Self> {
        let len = (0..=self.len())
            .rev()
            .find(|&len| Self::padded_len(len) <= room)?;
        self.fields[len..].fill([0; 3]);
        self.len = len as u8;
        Some(self)
    }

    //= rfc9768#section-3.2.3 (MUST)
    // The kind names the order, the length how many counters there are.
    /// Kind, length and counters, at the start of `place`.
    pub(crate) fn write(&self, place: &mut [u8]) -> Option<()> {
        let (head, behind) = place.split_first_chunk_mut::<2>()?;
        let bytes = self.fields.as_flattened().get(..3 * self.len())?;
        *head = [self.order as u8, 2 + bytes.len() as u8];
        behind.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(())
    }

    fn field(&self, index: usize) -> Option<u32> {
        let fields = self.fields.get(..self.len())?;
        fields
            .get(index)
            .map(|&[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= rfc9768#section-3.2.3 (MUST)
    #[test]
    fn any_length_is_read_as_its_whole_counters() {
        let body = [0, 0, 1, 0, 1, 0, 1, 0, 0, 9, 9, 9, 9];
        for (len, fields) in [
            (0, 0),
            (2, 0),
            (3, 1),
            (5, 1),
            (6, 2),
            (8, 2),
            (9, 3),
            (10, 3),
            (13, 3),
        ] {
            let option = AccEcnOption::parse(AccEcnOrder::Ect0First, &body[..len]);
            assert_eq!(option.len(), fields, "{len} bytes");
            assert_eq!(
                option,
                AccEcnOption::new(AccEcnOrder::Ect0First, &[1, 0x100, 0x10000][..fields])
            );
        }
    }

    #[test]
    fn the_order_tells_which_counter_is_which() {
        let counters = [1, 2, 0x0300_0003];
        let option = AccEcnOption::new(AccEcnOrder::Ect0First, &counters);
        assert_eq!(
            (option.e0b(), option.ceb(), option.e1b()),
            (Some(1), Some(2), Some(3))
        );
        let option = AccEcnOption::new(AccEcnOrder::Ect1First, &counters);
        assert_eq!(
            (option.e0b(), option.ceb(), option.e1b()),
            (Some(3), Some(2), Some(1))
        );
        let option = AccEcnOption::new(AccEcnOrder::Ect1First, &counters[..1]);
        assert_eq!((option.e0b(), option.ceb(), option.e1b()), (None, None, Some(1)));
    }

    #[test]
    fn what_does_not_fit_is_cut_from_its_end() {
        let option = AccEcnOption::new(AccEcnOrder::Ect0First, &[1, 2, 3]);
        for (room, fields) in [
            (12, Some(3)),
            (11, Some(2)),
            (8, Some(2)),
            (7, Some(0)),
            (4, Some(0)),
            (3, None),
        ] {
            let short = option.shortened(room);
            assert_eq!(short.map(|option| option.len()), fields, "{room} bytes");
            assert!(short.is_none_or(|option| option.encoded_len() <= room));
        }
    }
}
