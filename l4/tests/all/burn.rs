//! L4 over burn modules: what the trajectories do not reach.

use burn_core::module::{Param, ParamGroup};
use burn_core::tensor::{Bytes, DType, Device, Tensor, TensorData};
use burn_pack::{Reader, Scalar, Writer};
use l4::burn::{Error, L4Adam, L4Mom, RestoreError};
use l4::{StateError, Step, StepError};

type Pair = (Param<Tensor<1>>, Param<Tensor<1>>);

fn device() -> Device {
    Device::flex().autodiff()
}

fn vector<const N: usize>(values: [f64; N]) -> Tensor<1> {
    Tensor::from_data(TensorData::from(values), (&device(), DType::F64))
}

fn pair<const N: usize>(a: [f64; N], b: f64) -> Pair {
    (
        Param::from_tensor(vector(a)),
        Param::from_tensor(vector([b])),
    )
}

fn values(param: &Param<Tensor<1>>) -> Vec<f64> {
    param.val().into_data().iter::<f64>().collect()
}

fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

#[test]
fn by_hand_with_weight_decay() {
    let group = ParamGroup::from_path("0");
    let optimizer = L4Mom::new(l4::L4Mom::new());
    let mut optimizer = optimizer.weight_decay(group, 0.25).unwrap();
    let module = pair([0.0, 4.0], 4.0);
    // Gradients (1, −2) and 2; L = 4.
    let loss = (vector([1.0, -2.0]) * module.0.val()).sum() + 2.0 * module.1.val() + 4.0;
    let (module, step) = optimizer.backward_step(module, loss);
    let eta = 0.15 * (4.0 - 0.9 * 3.0) / 9.0;
    near(&[step.unwrap().learning_rate], &[eta]);
    let left = 1.0 - eta * 0.25;
    near(&values(&module.0), &[-eta * left, (4.0 + 2.0 * eta) * left]);
    near(&values(&module.1), &[4.0 - 2.0 * eta]);
    near(&[optimizer.rule().l_min().unwrap()], &[3.0 * 1.001]);
    assert!(module.0.val().is_require_grad());
    let error = L4Mom::new(l4::L4Mom::new()).weight_decay(ParamGroup::all(), -1.0);
    assert!(error.is_err());
}

#[test]
fn of_overlapping_groups_the_last_counts() {
    let optimizer = L4Mom::new(l4::L4Mom::new());
    let optimizer = optimizer.weight_decay(ParamGroup::all(), 0.5).unwrap();
    let mut optimizer = optimizer
        .weight_decay(ParamGroup::from_path("1"), 0.0)
        .unwrap();
    let module = pair([4.0], 4.0);
    let loss = module.0.val() + module.1.val() - 7.0;
    let (module, step) = optimizer.backward_step(module, loss);
    let moved = 4.0 - step.unwrap().learning_rate;
    assert!(values(&module.0)[0] < moved);
    near(&values(&module.1), &[moved]);
}

#[test]
fn a_parameter_without_gradient_rests_and_its_averages_begin_later() {
    let mut optimizer = L4Adam::new(l4::L4Adam::new());
    let mut module = pair([1.0], 1.0);
    for _ in 0..5 {
        let loss = module.0.val() * 0.0 + 1.0;
        let (moved, step) = optimizer.backward_step(module, loss);
        module = moved;
        step.unwrap();
    }
    assert_eq!(values(&module.1), [1.0]);
    let mut fresh = L4Adam::new(l4::L4Adam::new());
    for optimizer in [&mut optimizer, &mut fresh] {
        optimizer.rule_mut().set_l_min(0.5).unwrap();
    }
    let begin = |optimizer: &mut L4Adam, module: Pair| {
        let loss = 2.0 * module.1.val();
        values(&optimizer.backward_step(module, loss).0.1)
    };
    let late = begin(&mut optimizer, module);
    assert_eq!(late, begin(&mut fresh, pair([1.0], 1.0)));
    assert!(late[0] < 1.0);
}

#[test]
fn a_loss_of_several_numbers_is_their_sum() {
    let moved = |whole: bool| {
        let mut optimizer = L4Mom::new(l4::L4Mom::new());
        let module = pair([1.0, 2.0], 1.0);
        let losses = module.0.val() * module.1.val();
        let loss = if whole { losses.sum() } else { losses };
        let (module, step) = optimizer.backward_step(module, loss);
        (values(&module.0), values(&module.1), step.unwrap())
    };
    assert_eq!(moved(true), moved(false));
}

#[test]
fn half_precision_parameters_have_averages_in_f32() {
    // Gradients of 0.01, whose square's share in its average, 1e-7, is below the last digit of half precision.
    let last_rate = |dtype| {
        let of = |value: f64| {
            let value = Tensor::<1>::from_data(TensorData::from([value]), (&device(), dtype));
            Param::from_tensor(value)
        };
        let mut optimizer = L4Adam::new(l4::L4Adam::new());
        let (mut module, mut rate) = ((of(1.0), of(1.0)), 0.0);
        for _ in 0..300 {
            let loss = (module.0.val() + module.1.val()) * 0.01;
            let (moved, step) = optimizer.step(module, vector([1.0]), &loss.backward());
            (module, rate) = (moved, step.unwrap().learning_rate);
        }
        assert_eq!(module.0.val().dtype(), dtype);
        let mut again = L4Adam::new(l4::L4Adam::new());
        again
            .restore(Bytes::from_bytes_vec(saved(&optimizer)), &module)
            .unwrap();
        rate
    };
    let (half, whole) = (last_rate(DType::BF16), last_rate(DType::F64));
    assert!((half / whole - 1.0).abs() < 0.01, "{half} {whole}");
}

#[test]
fn half_precision_parameters_take_steps_whose_rate_it_cannot_hold() {
    // η is 4.9e5 and 4.9e-9: beyond the numbers of F16, and below them.
    for (gradient, start) in [(1e-4, 1.0), (1e3, 0.0)] {
        let of = |value: f64| {
            let value = Tensor::<1>::from_data(TensorData::from([value]), (&device(), DType::F16));
            Param::from_tensor(value)
        };
        let module = (of(start), of(1.0));
        let loss = module.0.val() * gradient;
        let mut optimizer = L4Mom::new(l4::L4Mom::new());
        let (module, step) = optimizer.step(module, vector([0.1]), &loss.backward());
        let expected = start - step.unwrap().learning_rate * gradient;
        let moved = values(&module.0)[0];
        assert!((moved / expected - 1.0).abs() < 0.02, "{moved} {expected}");
        assert_eq!(values(&module.1), [1.0]);
        assert_eq!(module.0.val().dtype(), DType::F16);
    }
}

fn single<const N: usize>(values: [f64; N]) -> Param<Tensor<1>> {
    let value = Tensor::from_data(TensorData::from(values), (&device(), DType::F32));
    Param::from_tensor(value)
}

#[test]
fn a_stepsize_that_the_averages_type_cannot_hold_is_refused() {
    let module = (single([1.0]), single([1.0]));
    let loss = module.0.val() * 1e-10 + 1e30;
    let (module, step) = L4Mom::new(l4::L4Mom::new()).backward_step(module, loss);
    let overflow = matches!(step, Err(Error::Step(StepError::Overflow { .. })));
    assert!(overflow, "{step:?}");
    assert_eq!(values(&module.0), [1.0]);
}

/// One running sum in f32 is off in the fifth digit after 2¹⁰ products.
#[test]
fn the_inner_product_of_a_large_tensor_keeps_its_digits() {
    let value = f64::from(0.1f32);
    for count in [1 << 10, (1 << 20) + 5] {
        let start = Tensor::<1>::full([count], 0.1, (&device(), DType::F32));
        let module = (Param::from_tensor(start), single([1.0]));
        let loss = module.0.val().square().sum() * 0.5;
        let mut optimizer = L4Mom::new(l4::L4Mom::new());
        let (_, step) = optimizer.step(module, vector([1.0]), &loss.backward());
        let expected = 0.15 * (1.0 - 0.9 * 0.75) / (count as f64 * value * value);
        let eta = step.unwrap().learning_rate;
        assert!(
            (eta / expected - 1.0).abs() < 1e-5,
            "{count}: {eta} {expected}"
        );
    }
}

#[test]
fn averages_follow_a_module_to_another_number_type() {
    let mut optimizer = L4Adam::new(l4::L4Adam::new());
    let narrow = (single([1.0]), single([2.0]));
    let loss = narrow.0.val() + narrow.1.val();
    optimizer.backward_step(narrow, loss).1.unwrap();
    let wide = pair([1.0], 2.0);
    let loss = wide.0.val() + wide.1.val();
    let (wide, step) = optimizer.backward_step(wide, loss);
    assert!(values(&wide.0)[0] < 1.0 && step.is_ok());
}

#[test]
fn a_refused_step_changes_nothing() {
    let mut optimizer = L4Adam::new(l4::L4Adam::new());
    let module = pair([1.0, 1.0], 1.0);
    let loss = module.0.val().sum() + module.1.val();
    let (mut module, _) = optimizer.backward_step(module, loss);
    let (before, a, b) = (saved(&optimizer), values(&module.0), values(&module.1));
    for (g, loss, expected) in [
        (1.0, f64::NAN, "Step(NonFiniteLoss"),
        (1.0, -1.0, "Step(NegativeLoss"),
        (f64::NAN, 1.0, "Gradient { path: \"0\", error: Unusable"),
        (1e200, 1.0, "Gradient { path: \"0\", error: Unusable"),
    ] {
        let gradients = (vector([1.0, g]) * module.0.val()).sum() + module.1.val();
        let grads = gradients.backward();
        let (same, step) = optimizer.step(module, vector([loss]), &grads);
        module = same;
        let error = step.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
        if let Error::Gradient { error, .. } = error {
            assert!(error.to_string().contains("element 1 is"), "{error}");
        }
        assert_eq!(
            (values(&module.0), values(&module.1)),
            (a.clone(), b.clone())
        );
        assert!(saved(&optimizer) == before);
    }
}

#[test]
fn a_gradient_that_is_refused_has_its_parameters_path() {
    // An element that cannot be taken, and elements that can while their squares' sum cannot.
    for (g, expected) in [
        ([1.0, f64::NAN], "gradient element 1"),
        ([1.3e154, 1.3e154], "squared norm"),
    ] {
        let module = (pair([1.0], 1.0), Param::from_tensor(vector([1.0, 1.0])));
        let gradients = module.0.0.val() + (vector(g) * module.1.val()).sum();
        let mut optimizer = L4Adam::new(l4::L4Adam::new());
        let (_, step) = optimizer.step(module, vector([1.0]), &gradients.backward());
        let error = step.unwrap_err().to_string();
        assert!(error.starts_with("parameter `1`: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

fn saved(optimizer: &L4Adam) -> Vec<u8> {
    optimizer.to_bytes().unwrap().to_vec()
}

fn train(optimizer: &mut L4Adam, mut module: Pair, steps: usize) -> Pair {
    for _ in 0..steps {
        let loss = module.0.val().square().sum() + 30.0 * module.1.val().square();
        let (moved, step) = optimizer.backward_step(module, loss);
        module = moved;
        step.unwrap();
    }
    module
}

#[test]
fn a_saved_state_goes_on_bit_for_bit() {
    let mut optimizer = L4Adam::new(l4::L4Adam::new().tau(50.0).unwrap());
    let module = train(&mut optimizer, pair([1.0, -2.0], 3.0), 7);
    optimizer.rule_mut().set_alpha(0.1).unwrap();
    let bytes = optimizer.to_bytes().unwrap();
    // Another module of the same values: its parameters have other ids.
    let a = values(&module.0);
    let copy = pair([a[0], a[1]], values(&module.1)[0]);
    let expected = train(&mut optimizer, module, 20);

    let mut resumed = L4Adam::new(l4::L4Adam::new());
    resumed.restore(bytes, &copy).unwrap();
    let found = train(&mut resumed, copy, 20);
    assert_eq!(values(&found.0), values(&expected.0));
    assert_eq!(values(&found.1), values(&expected.1));
    assert_eq!(resumed.rule().alpha(), 0.1);
}

#[test]
fn a_state_of_another_kind_is_refused() {
    let mut optimizer = L4Adam::new(l4::L4Adam::new());
    let module = train(&mut optimizer, pair([1.0, -2.0], 3.0), 3);
    let (before, bytes) = (saved(&optimizer), optimizer.to_bytes().unwrap());
    let cut = Bytes::from_bytes_vec(bytes[..bytes.len() / 2].to_vec());
    let error = optimizer.restore(cut, &module);
    assert!(matches!(error, Err(RestoreError::Format(_))), "{error:?}");
    let mut mom = L4Mom::new(l4::L4Mom::new());
    let error = mom.restore(bytes, &module);
    assert!(
        matches!(
            error,
            Err(RestoreError::State(StateError::Unexpected { .. }))
        ),
        "{error:?}"
    );
    let of_mom = mom.to_bytes().unwrap();
    let error = optimizer.restore(of_mom, &module);
    assert!(
        matches!(error, Err(RestoreError::State(StateError::Missing { .. }))),
        "{error:?}"
    );
    assert!(saved(&optimizer) == before);
}

#[test]
fn a_state_of_other_parameters_is_refused() {
    let mut optimizer = L4Adam::new(l4::L4Adam::new());
    let two_and_one = train(&mut optimizer, pair([1.0, -2.0], 3.0), 3);
    let (before, bytes) = (saved(&optimizer), optimizer.to_bytes().unwrap());
    let mut other = L4Adam::new(l4::L4Adam::new());
    let three_and_one = train(&mut other, pair([1.0, -2.0, 3.0], 3.0), 3);
    let of_three = other.to_bytes().unwrap();
    let mut other = L4Adam::new(l4::L4Adam::new());
    train(&mut other, pair([1.0], 3.0), 3);
    let of_one = other.to_bytes().unwrap();

    for (bytes, module, expected) in [
        (of_three, &two_and_one, "shape [3], expected [2]"),
        (of_one, &three_and_one, "shape [1], expected [3]"),
    ] {
        let error = optimizer.restore(bytes, module).unwrap_err().to_string();
        assert!(error.contains("`0.g.mean_gradient`"), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let error = optimizer.restore(bytes, &two_and_one.0);
    assert!(
        matches!(
            error,
            Err(RestoreError::State(StateError::Unexpected { .. }))
        ),
        "{error:?}"
    );
    assert!(saved(&optimizer) == before);
}

#[test]
fn a_state_of_another_weight_decay_is_refused() {
    let new = || L4Adam::new(l4::L4Adam::new());
    let with = |optimizer: L4Adam, group, decay| optimizer.weight_decay(group, decay).unwrap();
    let first = || ParamGroup::from_path("0");
    let mut optimizer = with(new(), first(), 0.25);
    let module = train(&mut optimizer, pair([1.0], 3.0), 1);
    let bytes = optimizer.to_bytes().unwrap();
    for (mut other, expected) in [
        (new(), "0.weight_decay = 0.25, the optimiser here has 0:"),
        (
            with(new(), ParamGroup::all(), 0.25),
            "1.weight_decay = 0, the optimiser here has 0.25:",
        ),
    ] {
        let before = saved(&other);
        let error = other.restore(bytes.clone(), &module).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(saved(&other) == before);
    }
    // By the ids of the module, another group of the same λ.
    let by_id = ParamGroup::ids_from_module(module.0.clone());
    with(new(), by_id, 0.25).restore(bytes, &module).unwrap();
    // What is saved is λ as it is, not as it was at the last step.
    let changed = with(optimizer, first(), 0.5).to_bytes().unwrap();
    let mut resumed = with(new(), first(), 0.5);
    resumed.restore(changed, &module).unwrap();
}

#[test]
fn a_step_of_another_module_is_refused() {
    let mut optimizer = L4Adam::new(l4::L4Adam::new());
    train(&mut optimizer, pair([1.0], 3.0), 3);
    let before = saved(&optimizer);
    let module = pair([1.0, -2.0], 3.0);
    let loss = module.0.val().square().sum() + module.1.val().square();
    let (module, step) = optimizer.backward_step(module, loss);
    let shape = Error::Shape {
        path: "0".into(),
        expected: vec![1],
        found: vec![2],
    };
    assert_eq!(step.unwrap_err(), shape);
    assert_eq!(values(&module.0), [1.0, -2.0]);
    assert!(saved(&optimizer) == before);
}

type Layer = (Param<Tensor<2>>, Param<Tensor<1>>);

fn layer(shape: [usize; 2]) -> Layer {
    let weight = Tensor::<2>::ones(shape, (&device(), DType::F64));
    (
        Param::from_tensor(weight),
        Param::from_tensor(vector([1.0])),
    )
}

fn step_of_layer(optimizer: &mut L4Adam, module: Layer, loss: f64) -> Result<Step<f64>, Error> {
    let gradients = module.0.val().square().sum() + module.1.val();
    optimizer
        .step(module, vector([loss]), &gradients.backward())
        .1
}

#[test]
fn averages_of_another_shape_are_refused_though_as_long() {
    let mut optimizer = L4Adam::new(l4::L4Adam::new());
    step_of_layer(&mut optimizer, layer([2, 3]), 1.0).unwrap();
    let (before, bytes) = (saved(&optimizer), optimizer.to_bytes().unwrap());
    let mut resumed = L4Adam::new(l4::L4Adam::new());
    resumed.restore(bytes.clone(), &layer([2, 3])).unwrap();
    let (expected, found) = (vec![2, 3], vec![3, 2]);
    let shape = Error::Shape {
        path: "0".into(),
        expected,
        found,
    };
    for optimizer in [&mut optimizer, &mut resumed] {
        let step = step_of_layer(optimizer, layer([3, 2]), 1.0);
        assert_eq!(step.unwrap_err(), shape);
        let error = optimizer.restore(bytes.clone(), &layer([3, 2]));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("shape [2, 3], expected [3, 2]"), "{error}");
        assert!(saved(optimizer) == before);
    }
    // A refused step leaves no shape behind.
    let mut fresh = L4Adam::new(l4::L4Adam::new());
    step_of_layer(&mut fresh, layer([2, 3]), f64::NAN).unwrap_err();
    step_of_layer(&mut fresh, layer([3, 2]), 1.0).unwrap();
}

/// The saved state with other numbers in it.
fn changed(bytes: Bytes, tensors: &[(&str, TensorData)], scalars: &[(&str, Scalar)]) -> Bytes {
    let reader = Reader::from_bytes(bytes).unwrap();
    let mut all_scalars = reader.scalars().clone();
    for (name, scalar) in scalars {
        all_scalars.insert((*name).into(), *scalar);
    }
    let mut all_tensors = reader.into_tensors().unwrap();
    for (name, data) in tensors {
        let (bytes, shape, dtype) = data.clone().into_parts();
        let tensor = burn_pack::Tensor::new((*name).into(), dtype, shape, None, bytes);
        all_tensors.retain(|tensor| tensor.name != *name);
        all_tensors.push(tensor);
    }
    let writer = all_scalars.into_iter();
    let writer = writer.fold(Writer::new(all_tensors), |writer, (name, scalar)| {
        writer.with_scalar(&name, scalar)
    });
    writer.into_bytes().unwrap()
}

#[test]
fn a_damaged_state_is_refused() {
    let mut optimizer = L4Adam::new(l4::L4Adam::new());
    let module = train(&mut optimizer, pair([1.0, -2.0], 3.0), 3);
    let (before, good) = (saved(&optimizer), optimizer.to_bytes().unwrap());
    let two = |a: f64, b: f64| TensorData::from([a, b]);
    let tensors = [
        ("0.g.mean_gradient", two(1.0, f64::NAN)),
        ("0.v.mean_square", two(f64::INFINITY, 1.0)),
        ("0.v.mean_square", two(1.0, -1.0)),
        ("stranger", two(1.0, 1.0)),
    ];
    let scalars = [
        ("rule.l_min", Scalar::from(-0.8125)),
        ("rule.l_min", Scalar::from(f64::NAN)),
        ("rule.l_min", Scalar::from(true)),
        ("rule.alpha", Scalar::from(0.0)),
        ("rule.tau_m", Scalar::from(20.0)),
        ("rule.step", Scalar::from(-1i64)),
        ("0.weight_decay", Scalar::from(0.25)),
        ("0.steps", Scalar::from(-1i64)),
        ("0.steps", Scalar::from(u64::MAX)),
        ("stranger", Scalar::from(1.0)),
    ];
    let tensors = tensors.map(|entry| (entry.0, changed(good.clone(), &[entry], &[])));
    let scalars = scalars.map(|entry| (entry.0, changed(good.clone(), &[], &[entry])));
    for (name, bytes) in tensors.into_iter().chain(scalars) {
        let error = optimizer.restore(bytes, &module);
        assert!(
            matches!(error, Err(RestoreError::State(_))),
            "{name}: {error:?}"
        );
        assert!(saved(&optimizer) == before, "{name}");
    }
    // A mean gradient may be negative and in another type, and the square of a mean square infinite.
    let unusual = [
        ("0.g.mean_gradient", TensorData::from([-1f32, 1.0])),
        ("0.v.mean_square", two(1e200, 1.0)),
    ];
    let unusual = changed(good, &unusual, &[]);
    optimizer.restore(unusual, &module).unwrap();
    train(&mut optimizer, module, 1);
}
