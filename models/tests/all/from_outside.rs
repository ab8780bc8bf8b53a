//! The networks by what the documentation says of them: parameter names and shapes,
//! constants, layers, recordings of one's own. And the examples run.

use autodiff::{Error, Graph, Padding, Param, Params, Real, Tape, Var, record};
use models::{
    Classifier, ConvNet, Dnc, DncConfig, Layers, Mlp, Regression, ResNet, Training, TwoLayerLinear,
    TwoLayerShape, Unrolled,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

#[allow(missing_docs)]
#[path = "../../examples/character_gru.rs"]
mod character_gru;
#[allow(missing_docs)]
#[path = "../../examples/transformer_sort.rs"]
mod transformer_sort;

#[test]
fn character_gru_learns() {
    character_gru::main().unwrap();
}

#[test]
fn transformer_sort_learns() {
    transformer_sort::main().unwrap();
}

const BATCH: usize = 2;
const DROPOUT_SEED: [u8; 32] = [9; 32];

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(11)
}

/// Irregular numbers in ±1.
fn numbers(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * i) as f64 * 0.37).sin()).collect()
}

/// Up to rounding, of sums of numbers as large as the largest.
#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 1e-11 * largest, "{f} is not {e}");
    }
}

/// A network with irregular parameters.
fn irregular<N>(build: impl FnOnce(&mut Params<f64>) -> Result<N, Error>) -> (N, Params<f64>) {
    let mut params = Params::new();
    let network = build(&mut params).unwrap();
    let values = numbers(params.len());
    params.values_mut().copy_from_slice(&values);
    (network, params)
}

/// What `build` makes of images, and the gradient of the sum of its squares.
fn run(
    params: &Params<f64>,
    [height, width, channels]: [usize; 3],
    build: impl for<'g> FnOnce(Var<'g, f64>) -> Var<'g, f64>,
) -> (Tape<f64>, Vec<f64>, Vec<f64>) {
    let pixels = numbers(BATCH * height * width * channels);
    let recorded = record(|g| {
        let y = build(g.constant([BATCH, height, width, channels], &pixels));
        Ok([y, y.square().sum()])
    });
    let (mut tape, [y, _]) = recorded.unwrap();
    let mut grads = params.zeros_like();
    let mut pass = tape.forward(params).unwrap();
    pass.backward(&mut grads).unwrap();
    let y = pass.into_value(y).unwrap().to_vec();
    (tape, y, grads.to_vec())
}

/// A network is what its documentation says: composed of that it is the same, forward and
/// backward.
fn agree(
    params: &Params<f64>,
    input: [usize; 3],
    network: impl for<'g> FnOnce(Var<'g, f64>) -> Var<'g, f64>,
    composed: impl for<'g> FnOnce(Named<'_, 'g>, Var<'g, f64>) -> Var<'g, f64>,
) -> Tape<f64> {
    let (tape, found, by_network) = run(params, input, network);
    let (_, expected, by_composed) = run(params, input, |x| composed(Named(params, x.graph()), x));
    assert_close(&found, &expected);
    assert_close(&by_network, &by_composed);
    tape
}

/// The parameters of one network by name, on one graph.
struct Named<'p, 'g>(&'p Params<f64>, &'g Graph<f64>);

impl<'g> Named<'_, 'g> {
    fn get(&self, name: String) -> Var<'g, f64> {
        self.1.param(self.0.get(&name).expect(&name))
    }

    fn dense(&self, name: &str, x: Var<'g, f64>) -> Var<'g, f64> {
        x.matmul(self.get(format!("{name}/kernel"))) + self.get(format!("{name}/bias"))
    }

    /// A 3×3 convolution of a [`ResNet`].
    fn conv(&self, name: &str, x: Var<'g, f64>, stride: usize) -> Var<'g, f64> {
        x.conv2d(self.get(format!("{name}/kernel")), stride, ResNet::PADDING)
    }

    fn norm_relu(&self, name: &str, x: Var<'g, f64>) -> Var<'g, f64> {
        let axes = [0, 1, 2];
        let centred = x - x.mean_keep(&axes);
        let variance = centred.square().mean_keep(&axes);
        let normal = centred / (variance + ResNet::BATCH_NORM_EPSILON).sqrt();
        let (gamma, beta) = (format!("{name}/gamma"), format!("{name}/beta"));
        (normal * self.get(gamma) + self.get(beta)).relu()
    }
}

#[test]
fn the_mlp_is_what_its_page_says() {
    let (mlp, params) = irregular(Mlp::zeros);
    let flat = [BATCH, Mlp::INPUTS];
    agree(
        &params,
        ConvNet::INPUT,
        |x| mlp.logits(x.reshape(flat)),
        |named, x| {
            let h1 = named.dense("hidden1", x.reshape(flat)).relu();
            let h2 = named.dense("hidden2", h1).relu();
            named.dense("output", h2)
        },
    );
}

#[test]
fn the_convnet_is_what_its_page_says() {
    let (network, params) = irregular(|params| ConvNet::zeros(params, 0.4));
    agree(
        &params,
        ConvNet::INPUT,
        |x| network.logits(x, &mut Layers::evaluation()),
        |named, x| {
            let conv = |name: &str, x| {
                let kernel = named.get(format!("{name}/kernel"));
                let y = Var::conv2d(x, kernel, 1, ConvNet::PADDING);
                (y + named.get(format!("{name}/bias")))
                    .relu()
                    .max_pool2d(2, 2)
            };
            let flat = conv("conv2", conv("conv1", x)).reshape([BATCH, 7 * 7 * 64]);
            named.dense("output", named.dense("hidden", flat).relu())
        },
    );
}

#[test]
fn the_resnet_is_what_its_page_says() {
    let (network, params) = irregular(|params| ResNet::zeros(params, 2));
    let mut layers = Layers::training(DROPOUT_SEED);
    let tape = agree(
        &params,
        ResNet::INPUT,
        |x| network.logits(x, &mut layers),
        |named, x| {
            let mut h = named.conv("first", x, 1);
            for (stage, block) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)] {
                let name = |layer: &str| format!("stage{stage}/block{block}/{layer}");
                let stride = if stage > 1 && block == 1 { 2 } else { 1 };
                let normal = named.norm_relu(&name("norm1"), h);
                if block == 1 {
                    let kernel = named.get(name("projection/kernel"));
                    h = normal.conv2d(kernel, stride, Padding::Valid);
                }
                let inner = named.conv(&name("conv1"), normal, stride);
                h += named.conv(&name("conv2"), named.norm_relu(&name("norm2"), inner), 1);
            }
            let pooled = named.norm_relu("norm", h).mean_over(&[1, 2]);
            named.dense("output", pooled)
        },
    );

    // running ← decay · running + (1 − decay) · batch, from mean 0.
    let (_, mean, _) = run(&params, ResNet::INPUT, |x| {
        Named(&params, x.graph())
            .conv("first", x, 1)
            .mean_over(&[0, 1, 2])
    });
    let rest = 1.0 - ResNet::BATCH_NORM_DECAY;
    let moved: Vec<f64> = mean.iter().map(|m| rest * m).collect();
    let (name, found) = &layers.state(&tape).unwrap().statistics[0];
    assert_eq!(name, "stage1/block1/norm1/moving_mean");
    assert_close(found, &moved);
    assert_eq!(
        (ResNet::BATCH_NORM_DECAY, ResNet::BATCH_NORM_EPSILON),
        (0.997, 1e-5)
    );
}

#[test]
fn layers_draw_masks_of_their_own() {
    let params = Params::<f64>::new();
    let mut layers = Layers::training(DROPOUT_SEED);
    let (mut tape, [one, other]) = record(|g| {
        let ones = g.constant([1, 64], &[1.0; 64]);
        let masks = [
            layers.dropout("a", ones, 0.5),
            layers.dropout("b", ones, 0.5),
        ];
        Ok(masks)
    })
    .unwrap();
    let pass = tape.forward(&params).unwrap();
    assert_ne!(pass.value(one).unwrap(), pass.value(other).unwrap());
}

/// With a hidden layer of ones and output weights of one, a logit counts what was kept.
#[test]
fn the_convnet_drops_at_its_rate() {
    let mut params = Params::<f64>::new();
    let network = ConvNet::zeros(&mut params, 0.4).unwrap();
    for name in ["hidden/bias", "output/kernel"] {
        let param = params.get(name).unwrap();
        params.view_mut(param).fill(1.0);
    }
    let logits =
        |mut layers: Layers| run(&params, ConvNet::INPUT, |x| network.logits(x, &mut layers)).1;
    assert!(
        logits(Layers::evaluation())
            .iter()
            .all(|&logit| logit == 1024.0)
    );
    let kept = logits(Layers::training(DROPOUT_SEED));
    assert_ne!(kept, logits(Layers::training([1; 32])), "another seed");
    for logit in kept {
        let kept = logit * 0.6;
        assert!((kept - kept.round()).abs() < 1e-9, "{kept}");
        assert!((kept / 1024.0 - 0.6).abs() < 0.1, "{kept}");
    }
}

#[test]
fn parameters_of_the_resnet_are_those_of_its_table() {
    let mut params = Params::<f32>::new();
    ResNet::zeros(&mut params, 2).unwrap();
    let found: Vec<String> = params
        .iter()
        .map(|(name, p)| format!("{name} {}", p.shape()))
        .collect();
    let mut expected = vec!["first/kernel [3, 3, 3, 16]".to_owned()];
    for (stage, [c, d]) in [(1, [16, 16]), (2, [16, 32]), (3, [32, 64])] {
        for (block, c) in [(1, c), (2, d)] {
            let mut add =
                |entry: String| expected.push(format!("stage{stage}/block{block}/{entry}"));
            add(format!("norm1/gamma [{c}]"));
            add(format!("norm1/beta [{c}]"));
            if block == 1 {
                add(format!("projection/kernel [1, 1, {c}, {d}]"));
            }
            add(format!("conv1/kernel [3, 3, {c}, {d}]"));
            add(format!("norm2/gamma [{d}]"));
            add(format!("norm2/beta [{d}]"));
            add(format!("conv2/kernel [3, 3, {d}, {d}]"));
        }
    }
    let end = [
        "norm/gamma [64]",
        "norm/beta [64]",
        "output/kernel [64, 10]",
        "output/bias [10]",
    ];
    expected.extend(end.map(str::to_owned));
    assert_eq!(found, expected);
}

/// Adds the parameters of every network, each by itself.
fn layouts<T: Real>(rng: Option<ChaCha8Rng>) -> Vec<Params<T>> {
    let (dnc, linear) = (DncConfig::PAPER, TwoLayerShape::PAPER);
    let mut all: Vec<Params<T>> = (0..5).map(|_| Params::new()).collect();
    let [a, b, c, d, e] = &mut all[..] else {
        unreachable!()
    };
    match rng {
        Some(mut rng) => {
            Mlp::new(a, &mut rng).unwrap();
            ConvNet::new(b, 0.4, &mut rng).unwrap();
            ResNet::new(c, 1, &mut rng).unwrap();
            Dnc::new(d, dnc, &mut rng).unwrap();
            TwoLayerLinear::new(e, linear, &mut rng).unwrap();
        }
        None => {
            Mlp::zeros(a).unwrap();
            ConvNet::zeros(b, 0.4).unwrap();
            ResNet::zeros(c, 1).unwrap();
            Dnc::zeros(d, dnc).unwrap();
            TwoLayerLinear::zeros(e, linear).unwrap();
        }
    }
    all
}

#[test]
fn without_a_generator_a_network_is_the_same_but_for_its_values() {
    for (drawn, zero) in layouts::<f32>(Some(rng())).iter().zip(layouts::<f32>(None)) {
        let layout = |params: &Params<f32>| -> Vec<_> {
            let entries = params.iter();
            let entry = |(name, p): (&str, Param)| (name.to_owned(), p.shape(), p.range());
            entries.map(entry).collect()
        };
        assert_eq!(layout(&zero), layout(drawn));
        for (name, param) in zero.iter() {
            let expected = if name.ends_with("/gamma") { 1.0 } else { 0.0 };
            assert!(zero.view(param).iter().all(|&x| x == expected), "{name}");
        }
        assert!(drawn.values().iter().any(|&x| x != 0.0 && x != 1.0));
    }
}

/// A network and a loss of one's own, on one's own graph, are those of the classifier.
#[test]
fn a_recording_of_ones_own_is_the_classifiers_to_the_bit() {
    let mut params = Params::<f32>::new();
    let network = ConvNet::new(&mut params, 0.5, &mut rng()).unwrap();
    let images: Vec<f32> = numbers(BATCH * 28 * 28).iter().map(|&x| x as f32).collect();
    let input = [BATCH, 28, 28, 1];

    let setting = Training {
        dropout_seed: DROPOUT_SEED,
        l2: 0.0,
    };
    let classifier = Classifier::training(input, &params, setting, |x, layers| {
        network.logits(x, layers)
    });
    let mut classifier = classifier.unwrap();
    classifier.inputs_mut().copy_from_slice(&images);
    classifier.set_labels(&[3, 8]).unwrap();

    let mut layers = Layers::training(DROPOUT_SEED);
    let recorded = record(|g| {
        let x = g.constant(input, &images);
        let mut targets = [0.0; 20];
        (targets[3], targets[10 + 8]) = (1.0, 1.0);
        let logits = network.logits(x, &mut layers);
        Ok([logits.softmax_cross_entropy(g.constant([BATCH, 10], &targets))])
    });
    let (mut tape, _) = recorded.unwrap();

    let mut grads = [params.zeros_like(), params.zeros_like()];
    for _ in 0..2 {
        let theirs = classifier
            .loss_and_gradient(&params, &mut grads[0])
            .unwrap();
        let mut pass = tape.forward(&params).unwrap();
        pass.backward(&mut grads[1]).unwrap();
        assert_eq!(pass.loss().unwrap(), theirs);
        assert_eq!(grads[0], grads[1]);
    }
    let state = layers.state(&tape).unwrap();
    assert_eq!(state, classifier.state());
    assert_eq!(state.positions, [("dropout/position".to_owned(), 2)]);
}

#[test]
fn layers_of_another_tape_are_an_error() {
    let (network, params) = irregular(|params| ResNet::zeros(params, 1));
    let [mut mine, mut other] = [Layers::evaluation(), Layers::evaluation()];
    let (mut tape, ..) = run(&params, ResNet::INPUT, |x| network.logits(x, &mut mine));
    run(&params, ResNet::INPUT, |x| network.logits(x, &mut other));
    let state = mine.state(&tape).unwrap();
    assert_eq!(other.state(&tape), Err(Error::OtherTape));
    assert_eq!(other.restore(&mut tape, &state), Err(Error::OtherTape));
    mine.restore(&mut tape, &state).unwrap();
}

/// Whoever trains one of them can train all.
#[test]
fn loss_and_gradient_has_one_form() {
    type Form<M, T> = fn(&mut M, &Params<T>, &mut [T]) -> Result<T, Error>;
    fn forms<T: Real>() {
        let _: Form<Classifier<T>, T> = Classifier::loss_and_gradient;
        let _: Form<Regression<T>, T> = Regression::loss_and_gradient;
        let _: Form<Unrolled<T>, T> = Unrolled::loss_and_gradient;
    }
    forms::<f32>();
    forms::<f64>();
}
