//! What is made of the numbers: verdicts on the paper's claims, each a pure function of [`Numbers`](numbers::Numbers).

pub mod numbers;
