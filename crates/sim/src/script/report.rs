//! What came of a script, for people and for programs.

use core::fmt;

use serde::Serialize;

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "why")]
pub enum Verdict {
    /// Everything happened as expected.
    Pass,
    /// Something did not.
    Fail(Box<Failure>),
    /// It asks for what is not here; the reason.
    NotApplicable(String),
}

/// What did not happen as expected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Failure {
    /// Where in the script.
    pub line: u32,
    /// What is wrong.
    pub what: String,
    /// The event, as it was understood.
    pub event: String,
    /// The packet that was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The packet that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// When, in virtual time.
    pub at_micros: u64,
}

/// What came of a script.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outcome {
    /// Whether it passed.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What else should be known: sysctls that have no meaning here, for one.
    pub notes: Vec<String>,
    /// Packets that went either way.
    pub packets: u64,
    /// How long it took, in virtual time.
    pub virtual_micros: u64,
    /// What happened up to there: calls that came back and packets, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
}

impl Outcome {
    pub(super) fn not_applicable(reason: String) -> Self {
        Self {
            verdict: Verdict::NotApplicable(reason),
            notes: Vec::new(),
            packets: 0,
            virtual_micros: 0,
            trace: Vec::new(),
        }
    }

    /// Whether everything happened as expected.
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Pass
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at_micros;
        write!(f, "{} (at {}.{:06})", self.what, at / 1_000_000, at % 1_000_000)?;
        match &self.expected {
            Some(expected) => write!(f, "\n    expected  {expected}")?,
            None => write!(f, "\n    in        {}", self.event)?,
        }
        if let Some(seen) = &self.seen {
            write!(f, "\n    seen      {seen}")?;
        }
        Ok(())
    }
}
