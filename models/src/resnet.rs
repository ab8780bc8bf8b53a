//! The residual network of section 3.3.

use crate::Layers;
use crate::layers::{Conv, NormRelu, Residual};
use crate::source::{Drawn, Source, Zeros};
use autodiff::{Dense, Error, Padding, Params, Real, Var};
use rand::Rng;

/// The CIFAR-10 network of TensorFlow's official models, version 2: the residual network
/// with full preactivation of He et al. (2016), "Identity mappings in deep residual
/// networks".
///
/// A 3×3 convolution to 16 channels; three stages of n blocks with 16, 32 and 64
/// channels, of which the second and third begin with stride 2; batch normalisation,
/// ReLU, the mean over the image and 10 logits. A block is twice (batch normalisation,
/// ReLU, 3×3 convolution) plus a short cut: x, but in the first block of every stage, the
/// first stage's too, a 1×1 convolution, with the block's stride, of the first ReLU's result. That makes 6n + 2 layers: n = 5 is
/// ResNet-32.
///
/// Kernels are truncated normal with deviation 1/√fan_in (see
/// [`truncated_normal`](autodiff::init::truncated_normal)), the dense layer
/// [Glorot uniform](autodiff::init::glorot_uniform). γ is one and β zero at first. The
/// parameters, in the order of the flat vector, for stages s = 1 to 3 and blocks b = 1 to n,
/// with c channels in and d out:
///
/// | name | shape |
/// |---|---|
/// | `first/kernel` | \[3, 3, 3, 16\]: height, width, inputs, outputs |
/// | `stage{s}/block{b}/norm1/gamma`, `…/norm1/beta` | \[c\] |
/// | `stage{s}/block1/projection/kernel`, of the short cut | \[1, 1, c, d\] |
/// | `stage{s}/block{b}/conv1/kernel` | \[3, 3, c, d\] |
/// | `stage{s}/block{b}/norm2/gamma`, `…/norm2/beta` | \[d\] |
/// | `stage{s}/block{b}/conv2/kernel` | \[3, 3, d, d\] |
/// | `norm/gamma`, `norm/beta` | \[64\] |
/// | `output/kernel`, `output/bias` | \[64, 10\], \[10\] |
#[derive(Clone, Debug)]
pub struct ResNet {
    first: Conv,
    blocks: Vec<Residual>,
    norm: NormRelu,
    output: Dense,
}

impl ResNet {
    /// Height, width and channels of an input.
    pub const INPUT: [usize; 3] = [32, 32, 3];
    /// Logits.
    pub const CLASSES: usize = 10;
    /// Of the 3×3 convolutions: one pixel of zeros on each side, with stride 2 too, where
    /// [`Padding::Same`] would pad below and on the right alone. The 1×1 ones have none.
    pub const PADDING: Padding = Conv::padding(3);
    /// ε of the batch normalisations, 10⁻⁵: see [`BatchNormConfig`](autodiff::BatchNormConfig).
    pub const BATCH_NORM_EPSILON: f64 = NormRelu::EPSILON;
    /// Decay of their running statistics, 0.997.
    pub const BATCH_NORM_DECAY: f64 = NormRelu::DECAY;

    /// Channels of the stages.
    const CHANNELS: [usize; 3] = [16, 32, 64];

    /// Adds the parameters of the network with `n` blocks in each stage.
    ///
    /// # Errors
    /// If `params` holds another network of this kind.
    pub fn new<T: Real>(
        params: &mut Params<T>,
        n: usize,
        rng: &mut impl Rng,
    ) -> Result<Self, Error> {
        Self::build(params, n, &mut Drawn(rng))
    }

    /// As [`new`](Self::new), without a random generator: every kernel is zero, to be
    /// written over with trained values.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn zeros<T: Real>(params: &mut Params<T>, n: usize) -> Result<Self, Error> {
        Self::build(params, n, &mut Zeros)
    }

    fn build<T: Real>(
        params: &mut Params<T>,
        n: usize,
        source: &mut impl Source,
    ) -> Result<Self, Error> {
        let [first, .., last] = Self::CHANNELS;
        let first = conv(params, "first", [3, Self::INPUT[2], first, 1], source)?;
        let mut blocks = Vec::new();
        let mut inputs = Self::CHANNELS[0];
        for (stage, outputs) in (1..).zip(Self::CHANNELS) {
            for number in 1..=n {
                let stride = if stage > 1 && number == 1 { 2 } else { 1 };
                let name = format!("stage{stage}/block{number}");
                let extents = [inputs, outputs, stride];
                blocks.push(residual(params, &name, extents, number == 1, source)?);
                inputs = outputs;
            }
        }
        let norm = NormRelu::new(params, "norm", last)?;
        let kernel = source.glorot_uniform(last, Self::CLASSES);
        Ok(Self {
            first,
            blocks,
            norm,
            output: Dense::new(params, "output", last, Self::CLASSES, kernel)?,
        })
    }

    /// Logits [batch, 10] for images x: [batch, 32, 32, 3].
    #[track_caller]
    pub fn logits<'g, T: Real>(&self, x: Var<'g, T>, layers: &mut Layers) -> Var<'g, T> {
        let mut h = self.first.apply(x);
        for block in &self.blocks {
            h = block.apply(h, layers);
        }
        self.output
            .apply(self.norm.apply(h, layers).global_average_pool())
    }
}

/// The parameters of a block. In the first block of every stage the short cut is a 1×1
/// convolution of relu(norm(x)); in the others it is x.
fn residual<T: Real>(
    params: &mut Params<T>,
    name: &str,
    [inputs, outputs, stride]: [usize; 3],
    projects: bool,
    source: &mut impl Source,
) -> Result<Residual, Error> {
    let name = |layer: &str| format!("{name}/{layer}");
    let mut conv = |params: &mut _, layer, extents| conv(params, &name(layer), extents, source);
    let norm1 = NormRelu::new(params, &name("norm1"), inputs)?;
    let projection = match projects {
        true => Some(conv(params, "projection", [1, inputs, outputs, stride])?),
        false => None,
    };
    let conv1 = conv(params, "conv1", [3, inputs, outputs, stride])?;
    let norm2 = NormRelu::new(params, &name("norm2"), outputs)?;
    let conv2 = conv(params, "conv2", [3, outputs, outputs, 1])?;
    Ok(Residual {
        halves: [(norm1, conv1), (norm2, conv2)],
        projection,
    })
}

fn conv<T: Real>(
    params: &mut Params<T>,
    name: &str,
    [size, inputs, outputs, stride]: [usize; 4],
    source: &mut impl Source,
) -> Result<Conv, Error> {
    let fan_in = (size * size * inputs) as f64;
    let kernel = source.truncated_normal(1.0 / fan_in.sqrt());
    Conv::new(params, name, [size, inputs, outputs, stride], kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn parameters(n: usize) -> Params<f32> {
        let mut params = Params::new();
        ResNet::new(&mut params, n, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        params
    }

    #[test]
    fn has_the_papers_number_of_parameters() {
        // Two batch normalisations and two 3×3 convolutions.
        let block = |i: usize, o: usize| 2 * i + 9 * i * o + 2 * o + 9 * o * o;
        let stage1 = 16 * 16 + 5 * block(16, 16);
        let stage2 = 16 * 32 + block(16, 32) + 4 * block(32, 32);
        let stage3 = 32 * 64 + block(32, 64) + 4 * block(64, 64);
        let ends = 9 * 3 * 16 + 2 * 64 + (64 * 10 + 10);
        assert_eq!(parameters(5).len(), ends + stage1 + stage2 + stage3);
        assert_eq!(parameters(5).len(), 466_970);
    }

    #[test]
    fn every_stage_projects_once_and_starts_normalised() {
        let params = parameters(2);
        let named = |name: &str| params.get(name).is_some();
        for stage in 1..=3 {
            assert!(named(&format!("stage{stage}/block1/projection/kernel")));
            assert!(!named(&format!("stage{stage}/block2/projection/kernel")));
        }
        let view = |name: &str| params.view(params.get(name).unwrap());
        assert!(view("stage2/block1/norm2/gamma").iter().all(|&x| x == 1.0));
        assert!(view("norm/beta").iter().all(|&x| x == 0.0));
    }
}
