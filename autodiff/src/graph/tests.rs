//! Tests of recording.

use super::*;

fn message(f: impl for<'g> FnOnce(&'g Graph<f64>) -> Var<'g, f64>) -> String {
    let recorded = record(|g| Ok([f(g)]));
    recorded.expect_err("an error").to_string()
}

#[test]
fn the_first_wrong_shape_is_named_with_its_line() {
    let line = line!() + 2;
    let message = message(|g| {
        let wrong = g.input([2, 3]) + g.input([2]);
        (wrong.matmul(g.input([7])) / 2.0).reshape([5]).sum()
    });
    assert_eq!(
        message,
        format!(
            "add of [2, 3] and [2]: the shapes do not broadcast (recorded at {}:{line}:21)",
            file!()
        )
    );
}

#[test]
fn who_needs_the_shape_of_what_failed_gets_the_reason() {
    let line = line!() + 2;
    let recorded = record::<f64, 1>(|g| {
        let y = g.input([2, 3]).matmul(g.input([4, 5]));
        let columns = y.shape()?[1];
        Ok([y.reshape([columns])])
    });
    let message = recorded.expect_err("3 is not 4").to_string();
    assert!(
        message.starts_with("matmul of [2, 3] and [4, 5]"),
        "{message}"
    );
    assert!(
        message.contains(&format!("{}:{line}:", file!())),
        "{message}"
    );
}

#[test]
fn an_error_of_the_callers_comes_through() {
    let mut params = Params::<f64>::new();
    let recorded = record::<f64, 1>(|g| {
        let w = params.add("w", [2], || 0.0)?;
        params.add("w", [2], || 0.0)?;
        Ok([g.param(w).sum()])
    });
    assert_eq!(recorded.err(), Some(Error::DuplicateName("w".to_owned())));
}

#[test]
fn a_reshape_keeps_the_number_of_elements() {
    let message = message(|g| g.input([2, 3]).reshape([5]));
    assert!(
        message.starts_with("reshape of [2, 3] and [5]"),
        "{message}"
    );
}

#[test]
fn a_constant_has_the_elements_of_its_shape() {
    let message = message(|g| g.constant([2, 2], &[1.0; 3]));
    assert!(
        message.contains("expected 4 elements, found 3"),
        "{message}"
    );
}

#[test]
fn variables_of_two_graphs_do_not_mix() {
    let recorded = record::<f64, 1>(|outer| {
        let [_, _, stranger] = [(); 3].map(|()| outer.input([2, 2]));
        let sum = record(|g| {
            let _mixed = g.input([2, 2]) + stranger;
            Ok([g.input([2, 2])])
        });
        // The stranger's place in its graph is that of a transpose that waits in this one.
        let product = record(|g| {
            let x = g.input([2, 2]);
            let _waits = g.input([2, 2]).transpose();
            let _mixed = x.matmul(stranger);
            Ok([x])
        });
        for inner in [sum, product] {
            let message = inner.expect_err("two graphs").to_string();
            assert!(
                message.contains("operand 1 belongs to another graph"),
                "{message}"
            );
        }
        Ok([stranger.sum()])
    });
    assert!(recorded.is_ok());
}

#[test]
fn what_no_memory_can_hold_is_an_error() {
    let huge = 1 << 40;
    for result in [
        message(|g| g.input([huge, huge])),
        message(|g| g.input([1 << 50])),
        message(|g| g.input([huge, huge, 0]).sum_over(&[2])),
        message(|g| g.input([huge, 0]).matmul(g.input([0, huge]))),
        message(|g| {
            let column = g.input([0, huge]);
            g.concat(1, &[column; 1 << 10]).transpose().sum_over(&[1])
        }),
    ] {
        assert!(
            result.contains("more elements than memory can hold"),
            "{result}"
        );
    }
    let reshaped = message(|g| g.input([huge, 0]).reshape([0, huge, huge]));
    assert!(
        reshaped.contains("the same number of elements"),
        "{reshaped}"
    );
    let constant = message(|g| g.constant([huge, 0, huge], &[]));
    assert!(constant.contains("constant"), "{constant}");
}
