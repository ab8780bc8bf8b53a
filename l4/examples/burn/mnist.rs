//! A perceptron on images of MNIST's size, a sixth of their number, with burn and without a learning rate.
//!
//!     cargo run --release -p l4 --features burn-flex --example burn_mnist
//!
//! The data are made here: ten patterns of 28 × 28 pixels, each image its class's pattern with two
//! thirds of the pixels replaced by noise. `burn::data::dataset` has MNIST itself.

use burn_core as burn;

use burn::module::{Module, Param};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use l4::burn::L4Adam;

const CLASSES: usize = 10;
const PIXELS: usize = 28 * 28;
const BATCH: usize = 64;

/// `count` images and their labels, one in the label's column.
fn data(count: usize, patterns: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let device = patterns.device();
    let labels: Vec<i64> = (0..count).map(|k| (k % CLASSES) as i64).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::from(&labels[..]), &device);
    let uniform = Distribution::Uniform(0.0, 1.0);
    let noise = Tensor::<2>::random([count, PIXELS], uniform, &device);
    let replaced = Tensor::<2>::random([count, PIXELS], uniform, &device).greater_elem(1.0 / 3.0);
    let images = patterns.clone().select(0, labels.clone());
    (
        images.mask_where(replaced, noise),
        labels.one_hot::<2>(CLASSES).float(),
    )
}

#[derive(Module, Debug)]
struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        let limit = 1.0 / (inputs as f64).sqrt();
        let weights = Distribution::Uniform(-limit, limit);
        Linear {
            weight: Param::from_tensor(Tensor::random([inputs, outputs], weights, device)),
            bias: Param::from_tensor(Tensor::zeros([outputs], device)),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val()) + self.bias.val().unsqueeze()
    }
}

#[derive(Module, Debug)]
struct Perceptron {
    first: Linear,
    second: Linear,
    last: Linear,
}

impl Perceptron {
    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.first.forward(images));
        self.last.forward(relu(self.second.forward(hidden)))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::default().autodiff();
    let patterns = Tensor::random([CLASSES, PIXELS], Distribution::Uniform(0.0, 1.0), &device);
    let (images, labels) = data(10_000, &patterns);
    let (test_images, test_labels) = data(2_000, &patterns);

    let mut model = Perceptron {
        first: Linear::new(PIXELS, 300, &device),
        second: Linear::new(300, 100, &device),
        last: Linear::new(100, CLASSES, &device),
    };
    let mut optimizer = L4Adam::new(l4::L4Adam::new());
    for step in 0..images.dims()[0] / BATCH {
        let rows = step * BATCH..(step + 1) * BATCH;
        let outputs = model.forward(images.clone().slice(rows.clone()));
        let products = log_softmax(outputs, 1) * labels.clone().slice(rows);
        let loss = products.sum() / -(BATCH as f64);
        let value: f32 = loss.clone().into_scalar();
        let (moved, taken) = optimizer.backward_step(model, loss);
        model = moved;
        let eta = taken?.learning_rate;
        if step % 50 == 0 {
            println!("step {step}: loss {value:.4}, η {eta:.3e}");
        }
    }
    let found = model.forward(test_images).argmax(1);
    let right = found.equal(test_labels.argmax(1)).float().mean();
    println!("test accuracy {:.4}", right.into_scalar::<f32>());
    Ok(())
}
