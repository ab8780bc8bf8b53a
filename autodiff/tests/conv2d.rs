//! A convolution with bias and ReLU against PyTorch: odd extents, stride 2, uneven padding.
//! `conv2d.py` computed what `conv2d.txt` holds.
#![forbid(unsafe_code)]

use autodiff::{Graph, Padding, Params};

/// Multiples of 1/8, as in `conv2d.py`.
fn numbers(seed: usize) -> impl FnMut() -> f64 {
    let mut n = seed;
    move || {
        let i = n * 7919 % 13;
        n += 1;
        (i as f64 - 6.0) / 8.0
    }
}

/// The numbers of one line of `conv2d.txt`.
fn expected(name: &str) -> Vec<f64> {
    let lines = include_str!("conv2d.txt").lines();
    let line = lines.map(|line| line.split(' ')).find_map(|mut words| {
        (words.next() == Some(name)).then(|| words.map(|word| word.parse().expect("a number")))
    });
    line.expect("a line of this name").collect()
}

fn assert_close(name: &str, found: &[f64]) {
    let expected = expected(name);
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!((f - e).abs() <= 1e-13, "{name}[{i}]: {f} is not {e}");
    }
}

#[test]
fn agrees_with_pytorch() {
    let mut params = Params::new();
    let x = params.add("x", [2, 7, 6, 3], numbers(1)).unwrap();
    let kernel = params.add("kernel", [3, 2, 3, 5], numbers(2)).unwrap();
    let bias = params.add("bias", [5], numbers(3)).unwrap();
    let padding = Padding::Explicit {
        top: 1,
        bottom: 2,
        left: 0,
        right: 1,
    };

    let graph = Graph::new();
    let [k, b] = [kernel, bias].map(|p| graph.param(p));
    let y = graph.param(x).conv2d_bias_relu(k, b, 2, padding);
    let mut coefficient = numbers(4);
    let coefficients: Vec<f64> = (0..y.shape().elements()).map(|_| coefficient()).collect();
    let root = (y * graph.constant(y.shape(), &coefficients)).sum();
    let (y, root) = (y.slot(), root.slot());
    let mut tape = graph.finish(root).unwrap();
    let mut grads = params.zeros_like();
    tape.forward(params.values()).unwrap();
    tape.backward(params.values(), &mut grads).unwrap();

    assert_close("y", tape.value(y));
    for (name, param) in [("dx", x), ("dkernel", kernel), ("dbias", bias)] {
        assert_close(name, &grads[param.range()]);
    }
}
