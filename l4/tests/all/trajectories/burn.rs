//! burn, with its gradients.

use burn_core::module::Param;
use burn_core::tensor::activation::log_softmax;
use burn_core::tensor::{DType, Device, Tensor, TensorData};
use l4::burn::{L4Adam, L4Mom};

use super::crate_itself::{adam, over};
use super::{Case, Data, F32, F64, Problem, Training, all_agree};

struct Layer {
    problem: Problem,
    optimizer: Method,
    /// The point, or weight and bias.
    module: Module,
    curvatures: Tensor<1>,
    inputs: Vec<Tensor<2>>,
    targets: Vec<Tensor<2>>,
    /// One in the label's column, 0 elsewhere.
    labels: Vec<Tensor<2>>,
}

type Module = (Option<Param<Tensor<2>>>, Param<Tensor<1>>);

enum Method {
    Adam(L4Adam),
    Mom(L4Mom),
}

fn start(dtype: DType, data: &Data, case: &Case) -> Box<dyn Training> {
    let device = &Device::flex().autodiff();
    let vector = |x: [f64; 3]| Tensor::<1>::from_data(TensorData::from(x), (device, dtype));
    let c = case.constants;
    let weight = Tensor::<2>::from_data(TensorData::from(data.weight), (device, dtype));
    let module = match case.problem {
        Problem::Quadratic => (None, Param::from_tensor(vector([3.0, -2.0, 1.0]))),
        _ => (
            Some(Param::from_tensor(weight)),
            Param::from_tensor(vector(data.bias)),
        ),
    };
    let labels = data.labels.map(|labels| {
        let column = |label| [0, 1, 2].map(|j| if j == label { 1.0 } else { 0.0 });
        labels.map(column)
    });
    let batches = |batches: &[[[f64; 3]; 8]; 5]| {
        let tensor = |x: &[[f64; 3]; 8]| Tensor::from_data(TensorData::from(*x), (device, dtype));
        batches.iter().map(tensor).collect()
    };
    let inputs = data.inputs.iter();
    Box::new(Layer {
        problem: case.problem,
        optimizer: match case.method.as_str() {
            "L4Adam" => Method::Adam(L4Adam::new(over(adam(c), c))),
            _ => Method::Mom(L4Mom::new(over(l4::AlongEstimate, c))),
        },
        module,
        curvatures: vector([1.0, 10.0, 100.0]),
        inputs: inputs
            .map(|x| Tensor::from_data(TensorData::from(*x), (device, dtype)))
            .collect(),
        targets: batches(&data.targets),
        labels: batches(&labels),
    })
}

impl Layer {
    fn loss(&self, batch: usize) -> Tensor<1> {
        let (weight, bias) = &self.module;
        let Some(weight) = weight else {
            let terms = self.curvatures.clone() * bias.val().square();
            return terms.sum() * 0.5;
        };
        let outputs = self.inputs[batch].clone().matmul(weight.val()) + bias.val().unsqueeze();
        let terms = match self.problem {
            Problem::Classification => -log_softmax(outputs, 1) * self.labels[batch].clone(),
            _ => (outputs - self.targets[batch].clone()).square(),
        };
        terms.sum() / 8.0
    }
}

impl Training for Layer {
    fn step(&mut self, k: usize) -> (f64, f64) {
        let loss = self.loss(k % 5);
        let value = loss.clone().into_scalar();
        let module = self.module.clone();
        let (module, step) = match &mut self.optimizer {
            Method::Adam(l4) => l4.backward_step(module, loss),
            Method::Mom(l4) => l4.backward_step(module, loss),
        };
        self.module = module;
        (value, step.unwrap().learning_rate)
    }

    fn params(&self) -> Vec<Vec<f64>> {
        let (weight, bias) = &self.module;
        let weight = weight.iter().map(|w| w.val().into_data());
        let all = weight.chain([bias.val().into_data()]);
        all.map(|data| data.iter::<f64>().collect()).collect()
    }
}

#[test]
fn f32_agrees() {
    all_agree(F32, |data, case| start(DType::F32, data, case));
}

#[test]
fn f64_agrees() {
    all_agree(F64, |data, case| start(DType::F64, data, case));
}
