//! Once a number of steps has come up, training on it allocates nothing: the allocator
//! counts.

use autodiff::Params;
use autodiff::kernels::simd_level;
use models::{Dnc, DncConfig, DncTrainer, Sequences};
use rand::SeedableRng;

const BATCH: usize = 16;

#[test]
fn steps_of_a_dnc_allocate_nothing() {
    // Without SIMD kernels products are `matrixmultiply`'s, which allocates.
    if simd_level() == "portable" {
        return;
    }
    let mut params = Params::<f32>::new();
    let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let dnc = Dnc::new(&mut params, DncConfig::PAPER, rng).unwrap();
    let mut trainer = DncTrainer::new(&dnc, BATCH);
    let mut grads = params.zeros_like();
    let ones = vec![1.0; 9 * BATCH * 6];
    let mut step = |steps: usize| {
        let sequences = Sequences {
            observations: &ones[..steps * BATCH * 6],
            targets: &ones[..steps * BATCH * 5],
            mask: &ones[..steps * BATCH],
        };
        let batch = trainer.unroll(&sequences).unwrap();
        assert!(batch.loss_and_gradient(&params, &mut grads).unwrap() > 0.0);
        assert!(!batch.logits(&params).unwrap().is_empty());
    };
    let mut all = || [5, 9, 7].into_iter().for_each(&mut step);
    all();
    let counted = allocation_counter::measure(|| (0..3).for_each(|_| all()));
    assert_eq!(counted.count_total, 0);
}
