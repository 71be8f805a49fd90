//! The fuzzer's bytes read as a script. Reading never fails: past the end
//! everything is zero, and [`Script::is_over`] says so.

use libfuzzer_sys::arbitrary::Unstructured;

/// The bytes that are left.
pub struct Script<'a>(Unstructured<'a>);

impl<'a> Script<'a> {
    /// All of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// Whether all was read.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    pub fn u16(&mut self) -> u16 {
        self.0.arbitrary().unwrap_or_default()
    }

    pub fn u32(&mut self) -> u32 {
        self.0.arbitrary().unwrap_or_default()
    }

    pub fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u8) -> bool {
        self.u8() % n == n - 1
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    /// As many bytes as there are, at most `max`; how many is drawn.
    pub fn bytes(&mut self, max: u16) -> &'a [u8] {
        let len = usize::from(self.u16() % (max + 1)).min(self.0.len());
        self.0.bytes(len).unwrap_or_default()
    }

    /// A number near `base`: mostly a small step away, at times anywhere.
    pub fn near(&mut self, base: u32) -> u32 {
        match self.u8() % 8 {
            0..4 => base,
            4 => base.wrapping_add(u32::from(self.u8())),
            5 => base.wrapping_sub(u32::from(self.u8())),
            6 => base.wrapping_add(u32::from(self.u16())).wrapping_sub(0x4000),
            _ => self.u32(),
        }
    }
}
