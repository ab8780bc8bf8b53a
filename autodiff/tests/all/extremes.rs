//! What operations make of tensors without elements, and of numbers that are none: a message or a result, and no panic; and
//! a NaN does not get lost.

use autodiff::{Error, Params, Real, Var, record};

type Function<T> = for<'g> fn(Var<'g, T>) -> Var<'g, T>;

fn rows<T: Real>(x: Var<T>) -> usize {
    x.shape().map_or(0, |shape| shape[0])
}

/// Operations on a matrix, by name.
fn operations<T: Real>() -> Vec<(&'static str, Function<T>)> {
    vec![
        ("+", |x| x + x * x),
        ("/", |x| x / x.exp() - x),
        ("constants", |x| {
            let half = T::nearest(0.5);
            -((x * half + half - half) / half).rsub(half).rdiv(half)
        }),
        ("row", |x| x + x.sum_over(&[0])),
        ("maximum", |x| x.maximum(x).minimum(x)),
        ("exp", |x| x.exp()),
        ("ln", |x| x.ln()),
        ("sqrt", |x| x.sqrt()),
        ("square", |x| x.square()),
        ("sigmoid", |x| x.sigmoid()),
        ("tanh", |x| x.tanh()),
        ("relu", |x| x.relu()),
        ("gelu", |x| x.gelu()),
        ("softplus", |x| x.softplus()),
        ("clamp", |x| x.clamp(-T::one(), T::one())),
        ("abs", |x| x.abs()),
        ("sin", |x| x.sin() + x.cos()),
        ("recip", |x| x.recip()),
        ("powf", |x| x.powf(T::nearest(1.5))),
        ("dropout", |x| x.dropout(0.5, [1; 32])),
        ("sum", |x| x.sum()),
        ("mean", |x| x.mean()),
        ("mean_over", |x| x.mean_over(&[1])),
        ("max_over", |x| x.max_over(&[0])),
        ("min_over", |x| x.min_over(&[1])),
        ("transpose", |x| x.transpose()),
        ("matmul", |x| x.matmul(x.transpose())),
        ("affine", |x| x.affine(x.transpose(), x.sum_over(&[1]))),
        ("concat", |x| x.graph().concat(1, &[x, x])),
        ("stack", |x| x.graph().stack(0, &[x, x])),
        ("slice", |x| x.slice(0, 0..rows(x))),
        ("gather", |x| x.gather(x.graph().indices([0], rows(x)))),
        ("layer_norm", |x| {
            x.layer_norm(x.sum_over(&[0]), x.sum_over(&[0]), 1e-5)
        }),
        ("half_squared_norm", |x| {
            x.graph().half_squared_norm(&[x, x])
        }),
        ("softmax", |x| x.softmax()),
        ("log_softmax", |x| x.log_softmax()),
        ("logsumexp", |x| x.logsumexp()),
        ("softmax_cross_entropy", |x| x.softmax_cross_entropy(x)),
        ("sigmoid_cross_entropy", |x| x.sigmoid_cross_entropy(x)),
        ("squared_error", |x| x.squared_error(x)),
        ("product_squared_error", |x| {
            x.product_squared_error(x.transpose(), x.matmul(x.transpose()))
        }),
    ]
}

/// The elements of f(x), and the gradient of their sum by x; or why it could not be recorded.
fn run<T: Real>(shape: [usize; 2], x: &[T], f: Function<T>) -> Result<[Vec<T>; 2], Error> {
    let mut params = Params::new();
    let mut values = x.iter().copied();
    let x = params.add("x", shape, || values.next().expect("an element"))?;
    let (mut tape, [y, _]) = record(|g| {
        let y = f(g.param(x));
        Ok([y, y.sum()])
    })?;
    let mut grads = params.zeros_like();
    let mut pass = tape.forward(&params)?;
    pass.backward(&mut grads)?;
    let y = pass.into_value(y)?.to_vec();
    Ok([y, grads.to_vec()])
}

#[test]
fn nothing_in_is_nothing_out_or_an_error() {
    for (name, f) in operations::<f64>() {
        for shape in [[0, 3], [3, 0], [0, 0]] {
            match run(shape, &[], f) {
                // Sums of nothing are 0, and there is nothing else.
                Ok([y, _]) => assert!(y.iter().all(|&y| y == 0.0), "{name} of {shape:?}: {y:?}"),
                Err(Error::Shape { why, .. }) => assert!(!why.is_empty(), "{name}"),
                Err(error) => panic!("{name} of {shape:?}: {error}"),
            }
        }
    }
}

fn survives<T: Real>() {
    let subnormal = T::min_positive_value() / T::nearest(4.0);
    let largest = T::max_value();
    let numbers = [
        T::infinity(),
        T::neg_infinity(),
        subnormal,
        largest,
        -largest,
        -T::zero(),
    ];
    for (name, f) in operations::<T>() {
        run([2, 3], &numbers, f).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Gathering no rows loses it rightly.
        if name == "gather" {
            continue;
        }
        let nan = [T::nan(), T::one(), T::zero(), T::one(), T::one(), T::one()];
        let [y, _] = run([2, 3], &nan, f).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(y.iter().any(|y| y.is_nan()), "{name} loses a NaN: {y:?}");
    }
}

#[test]
fn what_is_not_finite_is_no_panic_and_a_nan_stays() {
    survives::<f32>();
    survives::<f64>();
}
