//! Random streams addressed by (seed, purpose, epoch), so that no use of randomness depends on any
//! other.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Seed of all the streams of one run, a full ChaCha key: for example `rng.random()` from the run's
/// own generator.
pub type Seed = [u8; 32];

/// What a stream is for. Each purpose has its own half-open range of ChaCha stream numbers, one per
/// epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The order of examples in an epoch.
    Shuffle = 0,
    /// Crop and flip of the training images in an epoch.
    Augmentation = 1,
    /// The generation of stand-in data.
    Synthetic = 2,
}

/// 32-bit words in one block of ChaCha: a stream can be entered at any multiple of it for free.
pub(crate) const BLOCK_WORDS: u128 = 16;

/// The stream of `purpose` in `epoch`, at its start.
pub(crate) fn stream(seed: Seed, purpose: Purpose, epoch: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::from_seed(seed);
    rng.set_stream((purpose as u64) << 32 | u64::from(epoch));
    rng
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn seeds_purposes_and_epochs_do_not_share_a_stream() {
        let first_word = |seed, purpose, epoch| stream(seed, purpose, epoch).random::<u64>();
        let base = first_word([0; 32], Purpose::Shuffle, 0);
        assert_eq!(base, first_word([0; 32], Purpose::Shuffle, 0));
        assert_ne!(base, first_word([1; 32], Purpose::Shuffle, 0));
        assert_ne!(base, first_word([0; 32], Purpose::Augmentation, 0));
        assert_ne!(base, first_word([0; 32], Purpose::Shuffle, 1));
    }
}
