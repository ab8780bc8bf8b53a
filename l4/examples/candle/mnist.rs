//! A perceptron on images of MNIST's size, a sixth of their number, with candle and without a learning rate.
//!
//!     cargo run --release -p l4 --features candle --example candle_mnist
//!
//! The data are made here: ten patterns of 28 × 28 pixels, each image its class's pattern with two
//! thirds of the pixels replaced by noise. `candle-datasets` has MNIST itself.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Linear, Module, VarBuilder, VarMap, linear, loss};
use l4::candle::L4Adam;

const CLASSES: usize = 10;
const PIXELS: usize = 28 * 28;
const BATCH: usize = 64;

/// `count` images and their labels.
fn data(count: usize, patterns: &Tensor) -> Result<(Tensor, Tensor)> {
    let device = patterns.device();
    let labels: Vec<u32> = (0..count).map(|k| (k % CLASSES) as u32).collect();
    let labels = Tensor::new(labels, device)?;
    let noise = Tensor::rand(0f32, 1.0, (count, PIXELS), device)?;
    let keep = Tensor::rand(0f32, 1.0, (count, PIXELS), device)?.lt(1.0 / 3.0)?;
    Ok((
        keep.where_cond(&patterns.index_select(&labels, 0)?, &noise)?,
        labels,
    ))
}

struct Perceptron([Linear; 3]);

impl Module for Perceptron {
    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let [first, second, last] = &self.0;
        let hidden = first.forward(images)?.relu()?;
        last.forward(&second.forward(&hidden)?.relu()?)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let device = Device::Cpu;
    let patterns = Tensor::rand(0f32, 1.0, (CLASSES, PIXELS), &device)?;
    let (images, labels) = data(10_000, &patterns)?;
    let (test_images, test_labels) = data(2_000, &patterns)?;

    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &device);
    let model = Perceptron([
        linear(PIXELS, 300, builder.pp("first"))?,
        linear(300, 100, builder.pp("second"))?,
        linear(100, CLASSES, builder.pp("last"))?,
    ]);
    let mut optimizer = L4Adam::of_map(&variables, l4::L4Adam::new())?;
    for step in 0..images.dim(0)? / BATCH {
        let batch = images.narrow(0, step * BATCH, BATCH)?;
        let batch_labels = labels.narrow(0, step * BATCH, BATCH)?;
        let loss = loss::cross_entropy(&model.forward(&batch)?, &batch_labels)?;
        let taken = optimizer.step_with_loss(&loss.backward()?, &loss)?;
        if step % 50 == 0 {
            let loss = loss.to_scalar::<f32>()?;
            println!("step {step}: loss {loss:.4}, η {:.3e}", taken.learning_rate);
        }
    }
    let found = model.forward(&test_images)?.argmax(1)?;
    let right = found.eq(&test_labels)?.to_dtype(DType::F32)?.mean_all()?;
    println!("test accuracy {:.4}", right.to_scalar::<f32>()?);
    Ok(())
}
