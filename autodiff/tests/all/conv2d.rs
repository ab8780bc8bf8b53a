//! A convolution with bias and ReLU against PyTorch: odd extents, stride 2, uneven padding.
//! `conv2d.py` computed what `conv2d.txt` holds.

use autodiff::{Padding, Params, record};

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

    let mut coefficient = numbers(4);
    let (mut tape, [y, _]) = record(|g| {
        let [k, b] = [kernel, bias].map(|p| g.param(p));
        let y = g.param(x).conv2d_bias_relu(k, b, 2, padding);
        let shape = y.shape()?;
        let coefficients: Vec<f64> = (0..shape.elements()).map(|_| coefficient()).collect();
        Ok([y, (y * g.constant(shape, &coefficients)).sum()])
    })
    .unwrap();
    let mut grads = params.zeros_like();
    let mut pass = tape.forward(&params).unwrap();
    pass.backward(&mut grads).unwrap();

    assert_close("y", pass.value(y).unwrap());
    for (name, param) in [("dx", x), ("dkernel", kernel), ("dbias", bias)] {
        assert_close(name, &grads[param.range()]);
    }
}
