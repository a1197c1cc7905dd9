//! Why bytes are not taken here. The Python path then decides about them.

use std::fmt;

/// What was found in place of what is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    found: &'static str,
}

pub const fn refuse(found: &'static str) -> Refusal {
    Refusal { found }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "found {}", self.found)
    }
}
