//! What is made of the numbers: verdicts on the paper's claims, each a pure function of [`Numbers`](numbers::Numbers).

pub mod numbers;

/// T
pub struct Finding;
impl Finding {
    /// T
    pub fn into_claim(self) -> crate::results::Claim {
        unreachable!()
    }
}
/// T
pub fn judge_section(_: &[numbers::Numbers]) -> Vec<Finding> {
    Vec::new()
}
