//! L4 over candle's variables: what the trajectories do not reach.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Optimizer, VarBuilder, VarMap};
use l4::candle::{Error, L4Adam, L4Mom};
use l4::{StateError, StepError};

fn variable(values: &[f64]) -> Var {
    Var::new(values, &Device::Cpu).unwrap()
}

fn values(var: &Var) -> Vec<f64> {
    var.to_vec1().unwrap()
}

/// Σ g·θ + `constant`: a loss whose gradients are the g.
fn linear_loss(terms: &[(&Var, &[f64])], constant: f64) -> Result<Tensor> {
    let mut loss = Tensor::new(constant, &Device::Cpu)?;
    for (var, g) in terms {
        loss = (loss + (var.as_tensor() * Tensor::new(*g, &Device::Cpu)?)?.sum_all()?)?;
    }
    Ok(loss)
}

fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

#[test]
fn by_hand_with_weight_decay() {
    let (a, b) = (variable(&[0.0, 4.0]), variable(&[4.0]));
    let mut optimizer = L4Mom::new(vec![a.clone(), b.clone()], l4::L4Mom::new())
        .unwrap()
        .weight_decay_by(|name, _| if name == "0" { 0.25 } else { 0.0 })
        .unwrap();
    // L = 4 at a = (0, 4), b = 4 with gradients (1, −2) and 2.
    let loss = linear_loss(&[(&a, &[1.0, -2.0]), (&b, &[2.0])], 4.0).unwrap();
    optimizer.backward_step(&loss).unwrap();
    let eta = 0.15 * (4.0 - 0.9 * 3.0) / 9.0;
    let left = 1.0 - eta * 0.25;
    near(&values(&a), &[-eta * left, (4.0 + 2.0 * eta) * left]);
    near(&values(&b), &[4.0 - 2.0 * eta]);
    near(&[optimizer.rule().l_min().unwrap()], &[3.0 * 1.001]);
}

#[test]
fn a_step_without_the_loss_is_an_error_that_says_why() {
    let a = variable(&[1.0]);
    let mut optimizer = L4Adam::new(vec![a.clone()], l4::L4Adam::new()).unwrap();
    let grads = linear_loss(&[(&a, &[1.0])], 0.0)
        .unwrap()
        .backward()
        .unwrap();
    let error = optimizer.step(&grads).unwrap_err().to_string();
    assert!(
        error.contains("loss") && error.contains("backward_step"),
        "{error}"
    );
    assert_eq!(values(&a), [1.0]);
}

#[test]
fn a_variable_without_gradient_rests_and_its_averages_begin_later() {
    let (a, b, c) = (variable(&[1.0]), variable(&[1.0]), variable(&[1.0]));
    let mut optimizer = L4Adam::new(vec![a.clone(), b.clone()], l4::L4Adam::new()).unwrap();
    let mut fresh = L4Adam::new(vec![c.clone()], l4::L4Adam::new()).unwrap();
    for _ in 0..5 {
        let loss = linear_loss(&[(&a, &[0.0])], 1.0).unwrap();
        optimizer.backward_step(&loss).unwrap();
    }
    assert_eq!(values(&b), [1.0]);
    optimizer.rule_mut().set_l_min(0.5).unwrap();
    fresh.rule_mut().set_l_min(0.5).unwrap();
    for (var, optimizer) in [(&b, &mut optimizer), (&c, &mut fresh)] {
        let loss = linear_loss(&[(var, &[2.0])], 0.0).unwrap();
        optimizer.backward_step(&loss).unwrap();
    }
    assert_eq!(values(&b), values(&c));
    assert!(values(&b)[0] < 1.0);
}

#[test]
fn a_refused_step_changes_nothing() {
    let (a, b) = (variable(&[1.0, 1.0]), variable(&[1.0]));
    let mut optimizer = L4Adam::new(vec![a.clone(), b.clone()], l4::L4Adam::new()).unwrap();
    optimizer
        .backward_step(&linear_loss(&[(&a, &[1.0, 1.0]), (&b, &[1.0])], 0.0).unwrap())
        .unwrap();
    let before = (saved(&optimizer), values(&a), values(&b));
    let (loss, nan) = (|x: f64| Tensor::new(x, &Device::Cpu).unwrap(), f64::NAN);
    let mut step = |g: f64, loss| {
        let grads = linear_loss(&[(&a, &[1.0, g]), (&b, &[1.0])], 0.0).unwrap();
        let grads = grads.backward().unwrap();
        let step = optimizer.step_with_loss(&grads, &loss);
        assert_eq!((saved(&optimizer), values(&a), values(&b)), before);
        step.unwrap_err()
    };
    assert!(matches!(
        step(1.0, loss(nan)),
        Error::Step(StepError::NonFiniteLoss { .. })
    ));
    assert!(matches!(
        step(1.0, loss(-1.0)),
        Error::Step(StepError::NegativeLoss { .. })
    ));
    for g in [nan, 1e200] {
        let error = step(g, loss(1.0));
        let Error::Gradient { error, .. } = error else {
            panic!("{error:?}");
        };
        let StepError::UnusableGradient { index, value } = error else {
            panic!("{error:?}");
        };
        assert_eq!((index, value.to_bits()), (1, g.to_bits()));
    }
    let several = Tensor::new(&[1.0, 2.0], &Device::Cpu).unwrap();
    assert!(matches!(step(1.0, several), Error::Candle(_)));
}

#[test]
fn a_gradient_that_is_refused_has_its_variables_name() {
    let variables = ["first", "second"].map(|name| (name.to_string(), variable(&[1.0, 1.0])));
    let mut optimizer = L4Adam::named(variables.clone(), l4::L4Adam::new()).unwrap();
    let [(_, a), (_, b)] = &variables;
    // An element that cannot be taken, and elements that can while their squares' sum cannot.
    for (g, expected) in [
        ([1.0, f64::NAN], "gradient element 1"),
        ([1.3e154, 1.3e154], "squared norm"),
    ] {
        let gradients = linear_loss(&[(a, &[1.0, 1.0]), (b, &g)], 0.0).unwrap();
        let loss = Tensor::new(1.0, &Device::Cpu).unwrap();
        let step = optimizer.step_with_loss(&gradients.backward().unwrap(), &loss);
        let error = step.unwrap_err().to_string();
        assert!(error.starts_with("variable `second`: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

/// All of the state, exactly.
fn saved(optimizer: &L4Adam) -> BTreeMap<String, Vec<f64>> {
    let state = optimizer.state().unwrap().into_iter();
    let numbers = |t: Tensor| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1();
    state.map(|(name, t)| (name, numbers(t).unwrap())).collect()
}

/// A layer in f32 under a map, and its training on one batch.
struct Layer {
    variables: VarMap,
    layer: candle_nn::Linear,
}

impl Layer {
    fn new() -> Self {
        let variables = VarMap::new();
        let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let layer = candle_nn::linear(3, 2, builder).unwrap();
        Layer { variables, layer }
    }

    fn train(&self, optimizer: &mut L4Adam, steps: usize) -> Vec<Vec<f32>> {
        let inputs = Tensor::new(&[[1f32, -2.0, 0.5], [0.0, 1.0, 3.0]], &Device::Cpu).unwrap();
        for _ in 0..steps {
            let outputs = candle_nn::Module::forward(&self.layer, &inputs).unwrap();
            let loss = (outputs - 1.0).unwrap().sqr().unwrap().mean_all().unwrap();
            optimizer.backward_step(&loss).unwrap();
        }
        self.layer.weight().to_vec2().unwrap()
    }
}

#[test]
fn a_saved_state_goes_on_bit_for_bit() {
    let folder = std::env::temp_dir().join(format!("l4-candle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (weights, state) = (folder.join("weights"), folder.join("state"));
    let config = || l4::L4Adam::new().tau(50.0).unwrap();

    let layer = Layer::new();
    let mut optimizer = L4Adam::of_map(&layer.variables, config()).unwrap();
    layer.train(&mut optimizer, 7);
    optimizer.rule_mut().set_alpha(0.1).unwrap();
    layer.variables.save(&weights).unwrap();
    candle_core::safetensors::save(&optimizer.state().unwrap(), &state).unwrap();
    let expected = layer.train(&mut optimizer, 20);

    let mut layer = Layer::new();
    layer.variables.load(&weights).unwrap();
    let mut optimizer = L4Adam::of_map(&layer.variables, l4::L4Adam::new()).unwrap();
    let saved = candle_core::safetensors::load(&state, &Device::Cpu).unwrap();
    optimizer.restore(saved).unwrap();
    assert_eq!(layer.train(&mut optimizer, 20), expected);
    assert_eq!(optimizer.rule().alpha(), 0.1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_restored_state_has_its_weight_decays() {
    let variables = || [variable(&[4.0]), variable(&[4.0])];
    let (saved, resumed) = (variables(), variables());
    let over = |variables: &[Var; 2]| L4Mom::new(variables.to_vec(), l4::L4Mom::new()).unwrap();
    let decays = |name: &str, _: &Var| if name == "0" { 0.25 } else { 0.0 };
    let optimizer = over(&saved).weight_decay_by(decays).unwrap();
    let mut other = over(&resumed).weight_decay(0.5).unwrap();
    other.restore(optimizer.state().unwrap()).unwrap();
    for (mut optimizer, [a, b]) in [(optimizer, &saved), (other, &resumed)] {
        let loss = linear_loss(&[(a, &[1.0]), (b, &[1.0])], 0.0).unwrap();
        optimizer.backward_step(&loss).unwrap();
    }
    let [a, b] = saved.each_ref().map(values);
    assert!(a[0] < b[0]);
    assert_eq!(resumed.each_ref().map(values), [a, b]);
}

#[test]
fn variables_may_be_named_like_the_rule() {
    let named = || ["rule", "rule.weight"].map(|name| (name.to_string(), variable(&[1.0])));
    let variables = named();
    let mut optimizer = L4Adam::named(variables.clone(), l4::L4Adam::new()).unwrap();
    let terms = variables.each_ref().map(|(_, var)| (var, &[1.0][..]));
    optimizer
        .backward_step(&linear_loss(&terms, 1.0).unwrap())
        .unwrap();
    let mut restored = L4Adam::named(named(), l4::L4Adam::new()).unwrap();
    restored.restore(optimizer.state().unwrap()).unwrap();
    assert_eq!(saved(&restored), saved(&optimizer));
}

#[test]
fn a_damaged_state_is_refused() {
    let layer = Layer::new();
    let mut optimizer = L4Adam::of_map(&layer.variables, l4::L4Adam::new()).unwrap();
    layer.train(&mut optimizer, 3);
    let (good, before) = (optimizer.state().unwrap(), saved(&optimizer));
    let scalar = |x: f64| Some(Tensor::new(x, &Device::Cpu).unwrap());
    let nan = Tensor::full(f32::NAN, (2, 3), &Device::Cpu).unwrap();
    let negative = Tensor::full(-1f32, (2, 3), &Device::Cpu).unwrap();
    for (name, entry) in [
        ("rule.l_min", scalar(-1.0)),
        ("rule.l_min", scalar(f64::NAN)),
        ("rule.l_min", None),
        ("rule.alpha", scalar(0.0)),
        ("rule.tau_m", scalar(20.0)),
        ("rule.step", scalar(-1.0)),
        ("weight.weight_decay", scalar(-1.0)),
        ("weight.weight_decay", None),
        ("weight.steps", scalar(-1.0)),
        ("weight.g.mean_gradient", None),
        ("weight.g.mean_gradient", Some(nan)),
        ("weight.v.mean_square", Some(negative)),
        ("stranger", scalar(1.0)),
    ] {
        let mut state = good.clone();
        match entry {
            Some(entry) => state.insert(name.into(), entry),
            None => state.remove(name),
        };
        let error = optimizer.restore(state);
        assert!(matches!(error, Err(Error::State(_))), "{name}: {error:?}");
        assert_eq!(saved(&optimizer), before, "{name}");
    }
    let mut state = good.clone();
    let turned = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
    state.insert("weight.v.mean_square".into(), turned);
    let error = optimizer.restore(state).unwrap_err().to_string();
    assert!(
        error.contains("has the shape [3, 2], expected [2, 3]"),
        "{error}"
    );
    assert_eq!(saved(&optimizer), before);
    // The square of a mean square may be infinite.
    let mut state = good.clone();
    let large = Tensor::full(1e30f32, (2, 3), &Device::Cpu).unwrap();
    state.insert("weight.v.mean_square".into(), large);
    optimizer.restore(state).unwrap();

    let mom = L4Mom::of_map(&layer.variables, l4::L4Mom::new());
    let error = mom.unwrap().restore(good);
    assert!(
        matches!(error, Err(Error::State(StateError::Unexpected { .. }))),
        "{error:?}"
    );
}

#[test]
fn a_stepsize_that_the_variables_type_cannot_hold_is_refused() {
    for dtype in [DType::F32, DType::F64] {
        let a = Var::from_tensor(&Tensor::ones(1, dtype, &Device::Cpu).unwrap()).unwrap();
        let mut optimizer = L4Mom::new(vec![a.clone()], l4::L4Mom::new()).unwrap();
        let loss = a.affine(1e-10, 1e30).unwrap().sum_all().unwrap();
        let step = optimizer.step_with_loss(&loss.backward().unwrap(), &loss);
        if dtype == DType::F64 {
            assert!(step.unwrap().learning_rate > 1e40);
            continue;
        }
        let refused = matches!(step, Err(Error::Step(StepError::Overflow { .. })));
        assert!(refused, "{step:?}");
        assert_eq!(a.to_vec1::<f32>().unwrap(), [1.0]);
    }
}

/// One running sum in f32 of so many products, or one for each row and one over them, is off in the fifth digit.
#[test]
fn the_inner_product_of_a_large_tensor_keeps_its_digits() {
    let value = f64::from(0.1f32);
    for shape in [vec![1 << 20, 4], vec![(1 << 22) + 5]] {
        let a = Tensor::full(0.1f32, shape.clone(), &Device::Cpu).unwrap();
        let a = Var::from_tensor(&a).unwrap();
        let mut optimizer = L4Mom::new(vec![a.clone()], l4::L4Mom::new()).unwrap();
        let gradient = (a.sqr().unwrap() * 0.5).unwrap().sum_all().unwrap();
        let loss = Tensor::new(1.0, &Device::Cpu).unwrap();
        let step = optimizer.step_with_loss(&gradient.backward().unwrap(), &loss);
        let squares = a.elem_count() as f64 * value * value;
        let expected = 0.15 * (1.0 - 0.9 * 0.75) / squares;
        let eta = step.unwrap().learning_rate;
        assert!(
            (eta / expected - 1.0).abs() < 1e-5,
            "{shape:?}: {eta} {expected}"
        );
    }
}

#[test]
fn alpha_takes_the_learning_rates_place() {
    let a = variable(&[1.0]);
    let mut optimizer = L4Mom::new(vec![a.clone()], l4::L4Mom::new()).unwrap();
    optimizer.set_learning_rate(0.3);
    assert_eq!(optimizer.learning_rate(), 0.3);
    let loss = linear_loss(&[(&a, &[1.0])], 0.0).unwrap();
    let step = optimizer
        .step_with_loss(&loss.backward().unwrap(), &loss)
        .unwrap();
    near(&[step.learning_rate], &[0.3 * (1.0 - 0.9 * 0.75)]);

    optimizer.set_learning_rate(0.0);
    assert_eq!(optimizer.learning_rate(), 0.3);
    let error = optimizer.backward_step(&loss).unwrap_err().to_string();
    assert!(error.contains("alpha must be"), "{error}");
    optimizer.backward_step(&loss).unwrap();

    // A restored state has an alpha of its own.
    let saved = optimizer.state().unwrap();
    optimizer.set_learning_rate(0.0);
    optimizer.restore(saved).unwrap();
    optimizer.backward_step(&loss).unwrap();
}

#[test]
fn variables_of_two_types_make_one_step_and_others_are_left_out_or_refused() {
    let (a, b) = (Var::new(&[0f32], &Device::Cpu).unwrap(), variable(&[0.0]));
    let integer = Var::zeros(1, DType::I64, &Device::Cpu).unwrap();
    let mut optimizer = L4Mom::new(vec![a.clone(), integer, b.clone()], l4::L4Mom::new()).unwrap();
    let doubled = a.to_dtype(DType::F64).unwrap();
    let loss = ((doubled + b.as_tensor()).unwrap().sum_all().unwrap() + 1.0).unwrap();
    optimizer.backward_step(&loss).unwrap();
    let moved = f64::from(a.to_vec1::<f32>().unwrap()[0]);
    assert!((moved - values(&b)[0]).abs() < 1e-8 && moved < 0.0);

    let half = Var::zeros(1, DType::F16, &Device::Cpu).unwrap();
    assert!(L4Mom::new(vec![half], l4::L4Mom::new()).is_err());
    let twice = [
        ("a".to_string(), variable(&[0.0])),
        ("a".to_string(), variable(&[0.0])),
    ];
    assert!(L4Mom::named(twice, l4::L4Mom::new()).is_err());
}
