//! Dropout (Srivastava et al., 2014), inverted: y = m·x, where each mᵢ is 1/(1 − rate)
//! with probability 1 − rate and 0 otherwise, so that the mean of y is x.
//!
//! dx += m·dy.

use crate::kernels::fill;
use crate::memory::{Buffer, empty, scratch};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The operation that [`Var::dropout`] records. [`Tape::op_mut`](crate::Tape::op_mut)
/// reaches it.
///
/// The masks are a function of the seed and of the number of training passes before:
/// pass p draws from the p-th stream of ChaCha8 with this seed. So the position is all
/// that has to be saved for a run to continue with the same masks.
pub struct Dropout<T> {
    rate: f64,
    seed: [u8; 32],
    position: u64,
    training: bool,
    /// m, kept for the derivative; ones where this is no training.
    mask: Buffer<T>,
}

/// Draws that are made at once.
const DRAWS: usize = 1024;

impl<T> Dropout<T> {
    /// Number of masks drawn so far: one a forward pass in training.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Makes the next mask the one that follows `position` others.
    pub fn set_position(&mut self, position: u64) {
        self.position = position;
    }
}

impl<T: Real> Dropout<T> {
    fn draw_mask(&mut self) {
        let mut stream = ChaCha8Rng::from_seed(self.seed);
        stream.set_stream(self.position);
        self.position += 1;
        // Of the 2³² values of a draw, the lowest are dropped.
        let dropped = (self.rate * 2f64.powi(32)).round() as u32;
        let kept = T::nearest(1.0 / (1.0 - self.rate));
        let mut bytes = [[0; size_of::<u32>()]; DRAWS];
        for mask in self.mask.chunks_mut(DRAWS) {
            let bytes = &mut bytes[..mask.len()];
            stream.fill_bytes(bytes.as_flattened_mut());
            let draws = bytes.iter().map(|bytes| u32::from_le_bytes(*bytes));
            fill(
                mask,
                draws.map(|draw| if draw < dropped { T::zero() } else { kept }),
            );
        }
    }
}

impl<T: Real> Op<T> for Dropout<T> {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn set_training(&mut self, training: bool) {
        self.training = training;
        if !training {
            self.mask.fill(T::one());
        }
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        if !(0.0..1.0).contains(&self.rate) {
            return Err(format!(
                "the rate must be at least 0 and below 1, found {}",
                self.rate
            ));
        }
        self.mask = scratch(inputs[0])?;
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        if self.training {
            self.draw_mask();
        }
        let terms = x[0].iter().zip(self.mask.iter());
        fill(y, terms.map(|(&x, &m)| m * x));
    }

    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let terms = dy.iter().zip(self.mask.iter());
        dx.add(terms.map(|(&dy, &m)| m * dy));
    }
}

impl<T: Real> Var<'_, T> {
    /// Sets each element to zero with probability `rate`, at least 0 and below 1, and multiplies
    /// the others by 1/(1 − rate). What is dropped is multiplied by 0: a NaN or an infinity gives NaN. Every forward pass draws anew, from a random stream of the
    /// operation's own that starts at `seed`; [`Dropout`] says how to save it.
    ///
    /// This is what training needs; elsewhere dropout is the identity: record none, or tell
    /// the tape so ([`Tape::set_training`](crate::Tape::set_training)).
    #[track_caller]
    pub fn dropout(self, rate: f64, seed: [u8; 32]) -> Self {
        let op = Dropout::<T> {
            rate,
            seed,
            position: 0,
            training: true,
            mask: empty(),
        };
        self.graph().apply(op, &[self])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, error_of, numbers};
    use crate::{Params, Slot, Tape};

    /// Dropout of n parameters, and Σ k·y_k on top.
    fn record(n: usize, rate: f64) -> (Params<f64>, Tape<f64>, Slot) {
        let mut params = Params::new();
        let mut data = numbers(n).into_iter();
        let x = params.add("x", [n], || data.next().unwrap()).unwrap();
        let weights: Vec<f64> = (1..=n).map(|k| k as f64).collect();
        let (tape, [y, _]) = crate::record(|g| {
            let y = g.param(x).dropout(rate, [7; 32]);
            Ok([y, (y * g.constant([n], &weights)).sum()])
        })
        .unwrap();
        (params, tape, y)
    }

    #[test]
    fn elements_are_dropped_or_scaled() {
        let (params, mut tape, y) = record(20_000, 0.4);
        let pass = tape.forward(&params).unwrap();
        let kept = pass.value(y).unwrap().iter().zip(params.values());
        let kept = kept.filter(|&(&y, &x)| {
            assert!(y == 0.0 || (y * 0.6 - x).abs() < 1e-15, "{y} of {x}");
            y != 0.0
        });
        // Four standard deviations of a binomial of 20,000 and 0.6.
        assert!(kept.count().abs_diff(12_000) < 4 * 70);
    }

    /// In f64 against central differences, each with the mask of the same position.
    #[test]
    fn gradient() {
        let (mut params, mut tape, y) = record(35, 0.3);
        let mut grads = params.zeros_like();
        tape.forward(&params).unwrap().backward(&mut grads).unwrap();
        for i in 0..35 {
            let x = params.values()[i];
            let mut at = |x| {
                params.values_mut()[i] = x;
                tape.op_mut::<Dropout<f64>>(y).unwrap().set_position(0);
                tape.forward(&params).unwrap().loss().unwrap()
            };
            let difference = (at(x + 1e-5) - at(x - 1e-5)) / 2e-5;
            at(x);
            assert_close(&[grads[i]], &[difference], 1e-6, "dropout");
        }
        assert!(grads.contains(&0.0) && grads.iter().any(|&g| g != 0.0));
    }

    #[test]
    fn backward_twice_uses_the_mask_of_the_forward_pass() {
        let (params, mut tape, _) = record(50, 0.5);
        let mut pass = tape.forward(&params).unwrap();
        let [mut first, mut second] = [params.zeros_like(), params.zeros_like()];
        pass.backward(&mut first).unwrap();
        pass.backward(&mut second).unwrap();
        assert_eq!(first, second);
        let mut pass = tape.forward(&params).unwrap();
        pass.backward(&mut second).unwrap();
        assert_ne!(first, second, "another pass, another mask");
    }

    #[test]
    fn a_restored_position_continues_the_stream() {
        let (params, mut tape, y) = record(50, 0.5);
        let pass = |tape: &mut Tape<f64>, y| {
            let pass = tape.forward(&params).unwrap();
            pass.value(y).unwrap().to_vec()
        };
        (0..3).for_each(|_| drop(pass(&mut tape, y)));
        let position = tape.op::<Dropout<f64>>(y).unwrap().position();
        let expected = [pass(&mut tape, y), pass(&mut tape, y)];
        // The tape belongs to other parameters, of which it needs its own.
        let (others, mut resumed, at) = record(50, 0.5);
        let op = resumed.op_mut::<Dropout<f64>>(at).unwrap();
        op.set_position(position);
        let mut pass = |_| {
            let pass = resumed.forward(&others).unwrap();
            pass.value(at).unwrap().to_vec()
        };
        assert_eq!([0, 1].map(&mut pass), expected);
    }

    #[test]
    fn outside_of_training_it_is_the_identity_and_draws_nothing() {
        let (params, mut tape, y) = record(50, 0.5);
        let run = |tape: &mut Tape<f64>| {
            let mut grads = params.zeros_like();
            let mut pass = tape.forward(&params).unwrap();
            pass.backward(&mut grads).unwrap();
            (pass.value(y).unwrap().to_vec(), grads.to_vec())
        };
        let first = run(&mut tape);
        tape.set_training(false);
        let (values, grads) = run(&mut tape);
        assert_eq!(values, params.values());
        let weights: Vec<f64> = (1..=50).map(f64::from).collect();
        assert_eq!(grads, weights);
        assert_eq!(tape.op::<Dropout<f64>>(y).unwrap().position(), 1);
        tape.set_training(true);
        tape.op_mut::<Dropout<f64>>(y).unwrap().set_position(0);
        assert_eq!(run(&mut tape), first);
    }

    #[test]
    fn rates_that_are_no_probability_or_drop_all_are_errors() {
        for rate in [-0.1, 1.0, f64::NAN] {
            let error = error_of(|g| g.input([2]).dropout(rate, [0; 32]));
            assert!(error.contains("the rate must be at least 0"), "{error}");
        }
    }
}
