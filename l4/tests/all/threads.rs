//! A step on several threads has the bits of a step on one.

use l4::{L4Adam, L4Mom, Optimizer, Real, Schedule, Sgd, StepError};

/// Three parts and a rest, which threads share out, and a tensor that is too small for that.
const LENGTHS: [usize; 2] = [3 * 131_072 + 1_021, 77];

/// Numbers of many magnitudes, so that another order of additions would show.
fn numbers<T: Real>(seed: usize) -> impl Iterator<Item = T> {
    (seed..).map(|i| T::of((i as f64 * 0.7).sin() * 10f64.powi(i as i32 % 7 - 3)))
}

/// The parameters after three steps, and the rates.
fn train<T: Real>(optimizer: &mut dyn Optimizer<T>) -> (Vec<T>, Vec<T>) {
    let [mut a, mut b] = LENGTHS.map(|len| numbers(5).take(len).collect::<Vec<T>>());
    let mut rates = Vec::new();
    for step in 0..3 {
        let [mut da, mut db] = LENGTHS.map(|len| numbers(step * 31).take(len).collect::<Vec<T>>());
        let segments = &mut [(&mut a[..], &mut da[..]), (&mut b[..], &mut db[..])];
        let step = optimizer.step_segments(T::of(2.5), segments).unwrap();
        rates.push(step.learning_rate);
    }
    a.extend(b);
    (a, rates)
}

fn on<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(work)
}

fn check<T: Real, O: Optimizer<T>>(new: impl Fn() -> O + Sync) {
    let alone = train(&mut new());
    for threads in [1, 2, 3] {
        assert!(on(threads, || train(&mut new())) == alone, "{threads}");
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    check(L4Adam::<f64>::new);
    check(L4Mom::<f32>::new);
    check(|| Sgd::new(Schedule::constant(0.1f32).unwrap()));
}

#[test]
fn the_first_of_several_unusable_elements_is_named_wherever_threads_find_them() {
    let (mut params, mut grads) = (vec![0.0; LENGTHS[0]], vec![1.0; LENGTHS[0]]);
    for index in [140_000, 390_000] {
        grads[index] = f64::NAN;
    }
    let refused = on(2, || L4Adam::new().step(1.0, &mut params, &mut grads));
    let Err(StepError::UnusableGradient { index, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(index, 140_000);
}
