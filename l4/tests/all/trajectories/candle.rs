//! candle, with its gradients.

use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::{Optimizer, loss};
use l4::candle::{L4Adam, L4Mom};

use super::crate_itself::{adam, over};
use super::{Case, Data, F32, F64, Problem, Training, all_agree};

struct Variables {
    problem: Problem,
    optimizer: Method,
    /// The point, or weight and bias.
    variables: Vec<Var>,
    inputs: Vec<Tensor>,
    targets: Vec<Tensor>,
    labels: Vec<Tensor>,
}

enum Method {
    Adam(L4Adam),
    Mom(L4Mom),
}

fn start(dtype: DType, data: &Data, case: &Case) -> Box<dyn Training> {
    let tensor = |t: candle_core::Result<Tensor>| t.unwrap().to_dtype(dtype).unwrap();
    let variable = |t| Var::from_tensor(&tensor(t)).unwrap();
    let cpu = &Device::Cpu;
    let variables = match case.problem {
        Problem::Quadratic => vec![variable(Tensor::new(&[3.0, -2.0, 1.0], cpu))],
        _ => vec![
            variable(Tensor::new(&data.weight, cpu)),
            variable(Tensor::new(&data.bias, cpu)),
        ],
    };
    let c = case.constants;
    let optimizer = match case.method.as_str() {
        "L4Adam" => Method::Adam(L4Adam::new(variables.clone(), over(adam(c), c)).unwrap()),
        _ => Method::Mom(L4Mom::new(variables.clone(), over(l4::AlongEstimate, c)).unwrap()),
    };
    Box::new(Variables {
        problem: case.problem,
        optimizer,
        variables,
        inputs: data
            .inputs
            .iter()
            .map(|x| tensor(Tensor::new(x, cpu)))
            .collect(),
        targets: data
            .targets
            .iter()
            .map(|x| tensor(Tensor::new(x, cpu)))
            .collect(),
        labels: data
            .labels
            .iter()
            .map(|x| Tensor::new(x, cpu).unwrap())
            .collect(),
    })
}

impl Variables {
    fn loss(&self, batch: usize) -> candle_core::Result<Tensor> {
        let params = &self.variables;
        if self.problem == Problem::Quadratic {
            let curvatures = Tensor::new(&[1.0, 10.0, 100.0], &Device::Cpu)?;
            let curvatures = curvatures.to_dtype(params[0].dtype())?;
            return (curvatures * params[0].sqr()?)?.sum_all()? * 0.5;
        }
        let products = self.inputs[batch].matmul(&params[0])?;
        let outputs = products.broadcast_add(&params[1])?;
        match self.problem {
            Problem::Classification => loss::cross_entropy(&outputs, &self.labels[batch]),
            _ => (outputs - &self.targets[batch])?
                .sqr()?
                .sum(D::Minus1)?
                .mean_all(),
        }
    }
}

impl Training for Variables {
    fn step(&mut self, k: usize) -> (f64, f64) {
        let loss = self.loss(k % 5).unwrap();
        let grads = loss.backward().unwrap();
        let step = match &mut self.optimizer {
            Method::Adam(l4) => l4.step_with_loss(&grads, &loss).unwrap(),
            Method::Mom(l4) => l4.step_with_loss(&grads, &loss).unwrap(),
        };
        let loss = loss.to_dtype(DType::F64).unwrap();
        (loss.to_scalar().unwrap(), step.learning_rate)
    }

    fn params(&self) -> Vec<Vec<f64>> {
        let flat = |var: &Var| var.flatten_all()?.to_dtype(DType::F64)?.to_vec1();
        let flat: candle_core::Result<_> = self.variables.iter().map(flat).collect();
        flat.unwrap()
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
