//! The interface vector, by which the controller acts on the memory.

use super::affine::{add_affine, add_input_gradient, add_weight_gradients, set_bias};
use super::layout::{Interface, Sizes, expect};
use super::pack::{Kept, Pack, Packs, at, at_mut, dot, each, gradients, packs, packs_mut, zeros};
use autodiff::kernels::{dispatch, exp_in_place, sigmoid, sigmoid_in_place, softplus_in_place};
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The interface vector ξ; operands: the controller's state, kernel, bias.
///
/// ```text
/// ξ̂ = h · kernel + bias
/// ξ = σ(ξ̂) for gates and erase vectors, softplus(ξ̂) for strengths, softmax(ξ̂) for the
///     read modes of each head, ξ̂ for keys and write vectors
/// ```
///
/// Backward:
///
/// ```text
/// dξ̂ = dξ ∘ ξ(1 − ξ), dξ ∘ σ(ξ̂), ξ ∘ (dξ − ⟨dξ, ξ⟩), dξ
/// dh += dξ̂ · kernelᵀ    dkernel += hᵀ · dξ̂    dbias += Σ rows of dξ̂
/// ```
pub(super) struct Emission<T> {
    sizes: Sizes,
    interface: Interface,
    hidden: usize,
    /// σ(ξ̂) of the strengths.
    slopes: Kept<T>,
    d_xi: Kept<T>,
}

impl<T: Real> Emission<T> {
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            interface: Interface::new(sizes),
            hidden: 0,
            slopes: zeros(0),
            d_xi: zeros(0),
        }
    }
}

impl<T: Real> Op<T> for Emission<T> {
    fn name(&self) -> &'static str {
        "interface vector"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let &[_, _, hidden, _] = &*inputs[0] else {
            return Err("expected the controller's state".to_owned());
        };
        let (blocks, len) = (self.sizes.blocks(), self.interface.len);
        let shapes = [
            self.sizes.controller(hidden),
            [hidden, len].into(),
            [len].into(),
        ];
        expect(inputs, &shapes)?;
        self.hidden = hidden;
        self.slopes = zeros(blocks * self.interface.strengths().len);
        self.d_xi = zeros(blocks * len);
        Ok(self.sizes.interface())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (Sizes { writes, .. }, interface) = (self.sizes, self.interface);
        let states = packs(&x[0]).chunks_exact(2 * self.hidden);
        let slopes = self.slopes.chunks_exact_mut(interface.strengths().len);
        let blocks = packs_mut(y).chunks_exact_mut(interface.len);
        for ((xi, state), slopes) in blocks.zip(states).zip(slopes) {
            set_bias(&x[2], xi);
            add_affine(&state[..self.hidden], &x[1], xi);
            sigmoid_in_place(interface.gates().of_mut(xi).as_flattened_mut());
            let strengths = interface.strengths().of_mut(xi).as_flattened_mut();
            sigmoid(strengths, slopes.as_flattened_mut());
            softplus_in_place(strengths);
            let modes = interface.read_modes.of_mut(xi);
            modes
                .chunks_exact_mut(2 * writes + 1)
                .for_each(less_largest);
            exp_in_place(modes.as_flattened_mut());
            modes.chunks_exact_mut(2 * writes + 1).for_each(normalise);
        }
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let (Sizes { writes, .. }, interface) = (self.sizes, self.interface);
        let (y, dy) = (packs(y), packs(dy));
        let strengths = interface.strengths();
        dispatch(
            #[inline(always)]
            || {
                self.d_xi.copy_from_slice(dy);
                let blocks = self.d_xi.chunks_exact_mut(interface.len);
                for (block, (d, xi)) in blocks.zip(y.chunks_exact(interface.len)).enumerate() {
                    let gates = interface.gates().of(xi);
                    let d_gates = interface.gates().of_mut(d);
                    for i in each(gates.len()) {
                        let y = Pack(gates[i]);
                        d_gates[i] = (Pack(d_gates[i]) * y * (Pack::one() - y)).0;
                    }
                    let slopes = at(&self.slopes, block, strengths.len);
                    let d_strengths = strengths.of_mut(d);
                    for i in each(slopes.len()) {
                        d_strengths[i] = (Pack(d_strengths[i]) * Pack(slopes[i])).0;
                    }
                    let modes = interface.read_modes.of(xi).chunks_exact(2 * writes + 1);
                    let d_modes = interface.read_modes.of_mut(d);
                    for (d, y) in d_modes.chunks_exact_mut(2 * writes + 1).zip(modes) {
                        let inner = dot(d, y);
                        for i in each(d.len()) {
                            d[i] = (Pack(y[i]) * (Pack(d[i]) - inner)).0;
                        }
                    }
                }
            },
        );
        let [d_states] = gradients(dx, [0]);
        for (block, d_xi) in self.d_xi.chunks_exact(interface.len).enumerate() {
            let d_state = at_mut(d_states, block, 2 * self.hidden);
            add_input_gradient(d_xi, &x[1], &mut d_state[..self.hidden]);
        }
        let states = packs(&x[0]).chunks_exact(2 * self.hidden);
        let controllers = states.map(|state| &state[..self.hidden]);
        let blocks = controllers.zip(self.d_xi.chunks_exact(interface.len));
        add_weight_gradients(blocks, dx, 1);
    }
}

/// xᵢ ← xᵢ − maxⱼ xⱼ, for e^x to overflow nowhere.
fn less_largest<T: Real>(x: &mut Packs<T>) {
    let largest = x
        .iter()
        .fold(Pack::splat(T::neg_infinity()), |m, &x| Pack(x).max(m));
    x.iter_mut().for_each(|x| *x = (Pack(*x) - largest).0);
}

/// xᵢ ← xᵢ / Σⱼ xⱼ.
fn normalise<T: Real>(x: &mut Packs<T>) {
    let mut total = Pack::zero();
    x.iter().for_each(|&x| total += Pack(x));
    let scale = total.recip();
    x.iter_mut().for_each(|x| *x = (Pack(*x) * scale).0);
}

#[cfg(test)]
mod tests {
    use super::super::layout::Segment;
    use super::super::testing::{HIDDEN, SIZES, assert_close, assert_gradients};
    use super::*;
    use autodiff::{Params, record};

    fn emission_operands() -> [(Shape, f64, f64); 3] {
        let len = Interface::new(SIZES).len;
        [
            (SIZES.controller(HIDDEN), -1.0, 1.0),
            ([HIDDEN, len].into(), -2.0, 2.0),
            ([len].into(), -1.0, 1.0),
        ]
    }

    #[test]
    fn activations_of_the_interface_vector() {
        let interface = Interface::new(SIZES);
        let ln3 = 3f64.ln();
        let mut bias = vec![ln3; interface.len];
        for modes in interface.read_modes.of_mut(&mut bias).chunks_exact_mut(5) {
            modes[4] = 0.0;
        }
        let (mut tape, [xi]) = record(|g| {
            let state = g.input(SIZES.controller(HIDDEN));
            let kernel = g.constant([HIDDEN, bias.len()], &vec![0.0; HIDDEN * bias.len()]);
            let bias = g.constant([bias.len()], &bias);
            Ok([g.apply(Emission::new(SIZES), &[state, kernel, bias])])
        })
        .unwrap();
        let none = Params::new();
        let pass = tape.forward(&none).unwrap();
        // The last of the sequences: the first lane of the second block.
        let packs = packs(pass.value(xi).unwrap())[interface.len..].iter();
        let row: Vec<f64> = packs.map(|pack| pack[0]).collect();
        let all = |segment: Segment, value: f64| {
            assert_close(segment.of(&row), &vec![value; segment.len], 1e-15);
        };
        all(interface.write_vectors, ln3);
        all(interface.write_keys, ln3);
        all(interface.read_keys, ln3);
        all(interface.erase_vectors, 0.75);
        all(interface.free_gates, 0.75);
        all(interface.allocation_gates, 0.75);
        all(interface.write_gates, 0.75);
        all(interface.write_strengths, 4f64.ln());
        all(interface.read_strengths, 4f64.ln());
        let thirteenths = [3.0, 3.0, 3.0, 3.0, 1.0].map(|x| x / 13.0);
        assert_close(
            interface.read_modes.of(&row),
            &[thirteenths; 3].concat(),
            1e-15,
        );
    }

    #[test]
    fn gradients_of_the_interface_vector() {
        assert_gradients(&emission_operands(), |v| {
            v[0].graph().apply(Emission::new(SIZES), v)
        });
    }
}
