//! The CPU's time stamp counter: a clock that is read in the time of a few
//! instructions, for those who know how long its ticks are.
//!
//! Read first: Intel SDM volume 3, section 18.17; AMD APM volume 3, CPUID
//! function 8000_0007 (TscInvariant).

/// Says that this machine's counter ticks at one rate, whatever its cores do.
#[derive(Clone, Copy, Debug)]
pub struct Tsc(());

#[cfg(target_arch = "x86_64")]
impl Tsc {
    /// The counter, if the CPU promises that its rate never changes and that it
    /// doesn't stop while a core sleeps.
    pub fn invariant() -> Option<Self> {
        const POWER: u32 = 0x8000_0007;
        const INVARIANT: u32 = 1 << 8;
        use core::arch::x86_64::__cpuid;
        let has_leaf = __cpuid(0x8000_0000).eax >= POWER;
        (has_leaf && __cpuid(POWER).edx & INVARIANT != 0).then_some(Self(()))
    }

    /// The count as it stands. It may be that of a moment some instructions ago:
    /// nothing waits for it.
    #[inline(always)]
    pub fn ticks(self) -> u64 {
        // SAFETY: every x86-64 CPU has the instruction; it reads a register, and touches
        // no memory.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Tsc {
    /// None: there is no such counter here.
    pub fn invariant() -> Option<Self> {
        None
    }

    /// Never called, since there is none.
    pub fn ticks(self) -> u64 {
        0
    }
}
