//! Random streams: one per run and purpose, never shared.
//!
//! A run's seed and a [`Purpose`] name a stream. Nothing drawn for one purpose shifts what is drawn for another, so two
//! methods with the same seed start from the same weights and see the same batches, however many numbers dropout takes.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::engine::checkpoint::{Checkpoint, CheckpointError};

/// What random numbers are drawn for. The number is part of a run's identity: never reuse or change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Purpose {
    /// A synthetic task.
    Data = 1,
    /// Initial weights.
    Init = 2,
    /// The order of the examples, or the examples themselves where a task generates them without end.
    Batches = 3,
    /// Dropout masks.
    Dropout = 4,
    /// Crops and flips of training images.
    Augment = 5,
    /// Examples to test on, where a task generates them: never trained on from this stream.
    Test = 6,
}

/// The stream of the run with this seed for this purpose, from its start.
#[must_use]
pub fn stream(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}

/// Key (32 bytes), stream number, position in words (128 bits).
const STATE_WORDS: usize = 4 + 1 + 2;

/// Stores where a stream is.
pub fn save(checkpoint: &mut Checkpoint, name: &str, rng: &ChaCha8Rng) {
    let mut state = [0; STATE_WORDS];
    for (word, bytes) in state.iter_mut().zip(rng.get_seed().as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let position = rng.get_word_pos();
    state[4] = rng.get_stream();
    state[5] = position as u64;
    state[6] = (position >> 64) as u64;
    checkpoint.put(name, &[STATE_WORDS], &state);
}

/// The stream that [`save`] stored: its next number is the one that would have come.
///
/// # Errors
/// If the checkpoint has no stream of this name.
pub fn load(checkpoint: &Checkpoint, name: &str) -> Result<ChaCha8Rng, CheckpointError> {
    let mut state = [0; STATE_WORDS];
    checkpoint.read_into(name, &mut state)?;
    let mut key = [0; 32];
    for (bytes, word) in key.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_le_bytes();
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(state[4]);
    rng.set_word_pos(u128::from(state[5]) | u128::from(state[6]) << 64);
    Ok(rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng;

    fn draw(rng: &mut ChaCha8Rng) -> [u32; 20] {
        std::array::from_fn(|_| rng.next_u32())
    }

    #[test]
    fn a_stream_depends_on_the_seed_and_on_the_purpose_only() {
        assert_eq!(
            draw(&mut stream(3, Purpose::Init)),
            draw(&mut stream(3, Purpose::Init))
        );
        assert_ne!(
            draw(&mut stream(3, Purpose::Init)),
            draw(&mut stream(4, Purpose::Init))
        );
        assert_ne!(
            draw(&mut stream(3, Purpose::Init)),
            draw(&mut stream(3, Purpose::Batches))
        );
    }

    #[test]
    fn a_stored_stream_goes_on_where_it_was() {
        // 20 words are not a whole number of 16-word blocks, and the position passes 64 bits.
        for start in [0, u128::from(u64::MAX) - 5] {
            let mut rng = stream(u64::MAX, Purpose::Augment);
            rng.set_word_pos(start);
            draw(&mut rng);
            let mut checkpoint = Checkpoint::default();
            save(&mut checkpoint, "augment", &rng);
            let expected = draw(&mut rng);
            assert_eq!(draw(&mut load(&checkpoint, "augment").unwrap()), expected);
        }
    }
}
