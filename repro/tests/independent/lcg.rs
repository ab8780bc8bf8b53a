//! Numbers that Rust and Python make alike, to the last bit: `lcg.py` again.

/// A 64-bit linear congruential generator, the constants of Knuth's MMIX, of which the upper bits are used.
pub struct Lcg(pub u64);

impl Lcg {
    /// An integer in [0, 2^count).
    pub fn bits(&mut self, count: u32) -> u64 {
        let Lcg(state) = self;
        *state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        *state >> (64 - count)
    }

    /// A multiple of 2^(1 − count) in [−1, 1).
    pub fn signed(&mut self, count: u32) -> f64 {
        self.bits(count) as f64 / 2f64.powi(count as i32 - 1) - 1.0
    }

    /// `length` such multiples.
    pub fn signed_list(&mut self, count: u32, length: usize) -> Vec<f64> {
        (0..length).map(|_| self.signed(count)).collect()
    }
}
