//! The crate, with gradients by hand.

use l4::{
    AdamDirection, AlongEstimate, AveragedGradient, Direction, L4, MovingAverage, Optimizer, Real,
};

use super::{Case, Constants, Data, F32, F64, Problem, Training, all_agree};

struct Slices<'a, T> {
    data: &'a Data,
    problem: Problem,
    optimizer: Box<dyn Optimizer<T>>,
    /// The point, or weight and bias.
    params: Vec<Vec<T>>,
}

fn start<'a, T: Real>(data: &'a Data, case: &Case) -> Box<dyn Training + 'a> {
    let all = |values: &[f64]| values.iter().map(|&x| T::of(x)).collect();
    Box::new(Slices {
        data,
        problem: case.problem,
        optimizer: optimizer::<T>(&case.method, case.constants),
        params: match case.problem {
            Problem::Quadratic => vec![all(&[3.0, -2.0, 1.0])],
            _ => vec![all(data.weight.as_flattened()), all(&data.bias)],
        },
    })
}

fn optimizer<T: Real>(method: &str, c: Constants) -> Box<dyn Optimizer<T>> {
    match method {
        "L4Adam" => Box::new(over(adam(c), c)),
        "L4Mom" => Box::new(over(AlongEstimate, c)),
        other => panic!("trajectories.json names {other}"),
    }
}

pub(crate) fn adam<T: Real>(c: Constants) -> AdamDirection<T> {
    AdamDirection::over(MovingAverage::new(c.tau_s).unwrap(), T::of(c.delta)).unwrap()
}

pub(crate) fn over<T: Real, D: Direction<T>>(
    direction: D,
    c: Constants,
) -> L4<AveragedGradient<T>, D, T> {
    let momentum = AveragedGradient::over(MovingAverage::new(c.tau_m).unwrap());
    let l4 = L4::compose("L4", momentum, direction);
    let l4 = l4.alpha(T::of(c.alpha)).unwrap();
    let l4 = l4.gamma(T::of(c.gamma)).unwrap();
    let l4 = l4.gamma0(T::of(c.gamma0)).unwrap();
    let l4 = l4.tau(T::of(c.tau)).unwrap();
    l4.epsilon(T::of(c.epsilon)).unwrap()
}

impl<T: Real> Training for Slices<'_, T> {
    fn step(&mut self, k: usize) -> (f64, f64) {
        let (loss, mut grads) = match self.problem {
            Problem::Quadratic => quadratic(&self.params[0]),
            _ => self.linear_layer(k % 5),
        };
        let segments = self.params.iter_mut().zip(&mut grads);
        let mut segments: Vec<_> = segments.map(|(p, g)| (&mut p[..], &mut g[..])).collect();
        let step = self.optimizer.step_segments(loss, &mut segments).unwrap();
        (loss.as_f64(), step.learning_rate.as_f64())
    }

    fn params(&self) -> Vec<Vec<f64>> {
        let flat = |param: &Vec<T>| param.iter().map(|x| x.as_f64()).collect();
        self.params.iter().map(flat).collect()
    }
}

fn quadratic<T: Real>(x: &[T]) -> (T, Vec<Vec<T>>) {
    let curvatures = [1.0, 10.0, 100.0].map(T::of);
    let terms = x.iter().zip(curvatures).map(|(&x, a)| a * x * x);
    let loss = T::of(0.5) * terms.fold(T::zero(), |a, b| a + b);
    let gradient = x.iter().zip(curvatures).map(|(&x, a)| a * x).collect();
    (loss, vec![gradient])
}

impl<T: Real> Slices<'_, T> {
    fn linear_layer(&self, batch: usize) -> (T, Vec<Vec<T>>) {
        let samples = T::of(8.0);
        let (weight, bias) = (&self.params[0], &self.params[1]);
        let (mut loss, mut by_weight, mut by_bias) = (T::zero(), [T::zero(); 12], [T::zero(); 3]);
        for (sample, inputs) in self.data.inputs[batch].iter().enumerate() {
            let inputs = inputs.map(T::of);
            let outputs = [0, 1, 2].map(|j| {
                let products = (0..4).map(|i| inputs[i] * weight[3 * i + j]);
                products.fold(bias[j], |a, b| a + b)
            });
            let (of_sample, by_outputs) = match self.problem {
                Problem::Regression => {
                    squared_distance(outputs, self.data.targets[batch][sample].map(T::of))
                }
                _ => cross_entropy(outputs, usize::from(self.data.labels[batch][sample])),
            };
            loss = loss + of_sample / samples;
            for (j, by_output) in by_outputs.into_iter().enumerate() {
                by_bias[j] = by_bias[j] + by_output / samples;
                for i in 0..4 {
                    by_weight[3 * i + j] = by_weight[3 * i + j] + inputs[i] * by_output / samples;
                }
            }
        }
        (loss, vec![by_weight.to_vec(), by_bias.to_vec()])
    }
}

/// ‖o − t‖² and its gradient.
fn squared_distance<T: Real>(outputs: [T; 3], targets: [T; 3]) -> (T, [T; 3]) {
    let differences = [0, 1, 2].map(|j| outputs[j] - targets[j]);
    let square = differences.iter().fold(T::zero(), |a, &d| a + d * d);
    (square, differences.map(|d| d + d))
}

/// −log softmax(o) at the label, and its gradient.
fn cross_entropy<T: Real>(outputs: [T; 3], label: usize) -> (T, [T; 3]) {
    let exponentials = outputs.map(|o| o.exp());
    let sum = exponentials.iter().fold(T::zero(), |a, &e| a + e);
    let mut gradient = exponentials.map(|e| e / sum);
    gradient[label] = gradient[label] - T::one();
    (sum.ln() - outputs[label], gradient)
}

#[test]
fn f32_agrees() {
    all_agree(F32, start::<f32>);
}

#[test]
fn f64_agrees() {
    all_agree(F64, start::<f64>);
}
