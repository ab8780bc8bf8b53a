use super::super::made_up::{Arm, Run, judged, numbers, parts};
use super::super::{Basis, Verdict};
use super::*;
use crate::numbers::TaskName;
use serde_json::Value;

/// 20 epochs in which the schedule drops after the 8th and the 12th. What a test changes of the paper's outcome.
#[derive(Clone, Copy)]
struct Outcome {
    /// L4Adam's windows, of 20, that span two orders.
    wide: u64,
    /// The same on MNIST.
    mnist_wide: u64,
    /// L4Mom's rate before the first drop and after it.
    rates: [f64; 2],
    /// L4Adam's loss and accuracy; its base has 0.5 and 80.
    loss: f64,
    accuracy: f64,
    /// From which epoch on the policy leads, by 5 points in the mean, and by so many more or fewer from seed to seed.
    lead: u64,
    spread: f64,
    seeds: usize,
}

const PAPERS: Outcome = Outcome {
    wide: 1,
    mnist_wide: 11,
    rates: [1.0, 0.1],
    loss: 0.3,
    accuracy: 85.0,
    lead: 9,
    spread: 1.0,
    seeds: 3,
};

fn run(rate: impl Fn(u64) -> f64, wide: u64, loss: f64, accuracy: impl Fn(u64) -> f64) -> Run {
    let epochs = || 1..=20;
    let span = |epoch| if epoch <= wide { 100.0 } else { 99.0 };
    Run::losses(1.., epochs().map(|_| loss))
        .logs("learning_rate", 1.., epochs().map(&rate))
        .logs("learning_rate_min", 1.., epochs().map(&rate))
        .logs(
            "learning_rate_max",
            1..,
            epochs().map(|epoch| span(epoch) * rate(epoch)),
        )
        .logs("test_accuracy", 1.., epochs().map(accuracy))
}

fn finding(outcome: Outcome) -> Finding {
    let Outcome {
        wide,
        mnist_wide,
        rates: [before, after],
        loss,
        accuracy,
        lead,
        spread,
        seeds,
    } = outcome;
    let of = |arm: Arm, run: Run| arm.runs(vec![run; seeds]);
    let schedule = |epoch| if epoch <= 8 { 0.1 } else { 0.01 };
    let arms = [
        of(Arm::l4_adam(), run(|_| 0.1, wide, loss, |_| accuracy)),
        of(
            Arm::l4_mom(),
            run(
                |epoch| if epoch <= 8 { before } else { after },
                0,
                0.3,
                |_| 85.0,
            ),
        ),
        of(Arm::adam(), run(|_| 0.1, 0, 0.5, |_| 80.0)),
        of(Arm::momentum(), run(|_| 0.1, 0, 0.5, |_| 80.0)),
        Arm::policy().runs((0..seeds).map(|seed| {
            let end = 90.0 + spread * (seed as f64 - 1.0);
            let accuracy = move |epoch| if epoch < lead { 70.0 } else { end };
            run(schedule, 0, 0.4, accuracy)
        })),
    ];
    let mut here = numbers("3.3", TaskName::Cifar10, arms);
    (here.length, here.paper_length) = (20, 20);
    let mnist = |arm: Arm| of(arm, run(|_| 0.1, mnist_wide, 1.0, |_| 98.0));
    let mnist = numbers(
        "3.2",
        TaskName::Mnist,
        [mnist(Arm::l4_adam()), mnist(Arm::l4_mom())],
    );
    judge(&here, Some(&mnist)).unwrap()
}

#[test]
fn each_part_has_two_sides() {
    let parts = |outcome| judged(Some(finding(outcome)));
    assert_eq!(parts(PAPERS), "++++");
    assert_eq!(parts(Outcome { wide: 2, ..PAPERS }), "-+++");
    assert_eq!(
        parts(Outcome {
            mnist_wide: 10,
            ..PAPERS
        }),
        "-+++"
    );
    for (rates, expected) in [
        ([1.0, 0.3159], "++++"),
        ([1.0, 0.317], "+-++"),
        ([1.0, 0.0317], "++++"),
        ([1.0, 0.0316], "+-++"),
        ([3.159, 0.1], "++++"),
        ([3.17, 0.1], "+-++"),
    ] {
        assert_eq!(parts(Outcome { rates, ..PAPERS }), expected);
    }
    // The schedule of the test falls no further.
    let measured = finding(PAPERS).measured;
    let close = |found: &Value, expected: f64| (found.as_f64().unwrap() - expected).abs() < 1e-5;
    let ratios = measured["rate_over_schedule"].as_array().unwrap();
    assert_eq!(ratios.len(), 4);
    assert!(ratios.iter().all(|ratio| close(ratio, 1.0)), "{ratios:?}");
    assert_eq!(
        parts(Outcome {
            loss: 0.5,
            ..PAPERS
        }),
        "++-+"
    );
    assert_eq!(
        parts(Outcome {
            accuracy: 80.0,
            ..PAPERS
        }),
        "++-+"
    );
    assert_eq!(parts(Outcome { lead: 10, ..PAPERS }), "++++");
    assert_eq!(
        parts(Outcome { lead: 8, ..PAPERS }),
        "+++-",
        "before the drop"
    );
    assert_eq!(
        parts(Outcome { lead: 11, ..PAPERS }),
        "+++-",
        "not right after it"
    );
    let wider = Outcome {
        spread: 3.0,
        ..PAPERS
    };
    assert_eq!(parts(wider), "+++-", "not told from equal");
    assert_eq!(
        parts(Outcome {
            accuracy: 91.0,
            ..PAPERS
        }),
        "+++-",
        "not in the end"
    );
}

/// A result file has no place for a null.
#[test]
fn whatever_comes_out_can_be_written() {
    for outcome in [
        PAPERS,
        Outcome {
            accuracy: 91.0,
            ..PAPERS
        },
    ] {
        let measured = finding(outcome).measured;
        assert!(
            measured.values().all(|value| !value.is_null()),
            "{measured:?}"
        );
    }
}

#[test]
fn one_seed_leaves_the_comparison_open() {
    let single = finding(Outcome { seeds: 1, ..PAPERS });
    assert_eq!(
        (parts(&single).as_str(), single.verdict),
        ("++??", Verdict::Partly)
    );
}

#[test]
fn in_a_shorter_run_the_schedule_is_shorter_and_that_is_said() {
    let flat = |rate: f64| run(move |_| rate, 0, 0.4, |_| 80.0);
    let arms = [
        Arm::policy().runs([flat(0.1)]),
        Arm::l4_mom().runs([flat(0.2)]),
    ];
    let mut here = numbers("3.3", TaskName::Cifar10, arms);
    (here.length, here.paper_length) = (20, 250);
    let finding = judge(&here, None).unwrap();
    let unmoved = finding.measured["rate_over_schedule_unmoved"].as_f64();
    assert!((unmoved.unwrap() - 0.2).abs() < 1e-6);
    let Some(Basis::Reduced(words)) = finding.basis else {
        panic!("it is shorter")
    };
    assert!(words.contains("drops sooner in proportion"), "{words}");
    here.paper_length = 20;
    let whole = judge(&here, None).unwrap();
    assert!(!whole.measured.contains_key("rate_over_schedule_unmoved"));
    here.paper_length = 10;
    let longer = format!("{:?}", judge(&here, None).unwrap().basis);
    assert!(!longer.contains("sooner"), "{longer}");
}

#[test]
fn without_mnist_there_is_nothing_to_compare_with() {
    let here = numbers("3.3", TaskName::Cifar10, [Arm::l4_adam().losing([1.0])]);
    let finding = judge(&here, None).unwrap();
    assert_eq!(finding.verdict, Verdict::Untested);
    assert!(
        finding.evidence.contains("no rates of L4Adam on MNIST"),
        "{}",
        finding.evidence
    );
    assert_eq!(judge(&numbers("3.2", TaskName::Mnist, []), None), None);
}

#[test]
fn what_the_running_statistics_do_to_the_accuracy_is_said() {
    let swings = |points: f64| move |epoch: u64| 80.0 + points * ((epoch + 1) % 2) as f64;
    let arm = Arm::l4_adam().runs([Run::default()
        .logs("test_accuracy", 1.., (1..=20).map(swings(20.0)))
        .logs("reestimated_test_accuracy", 1.., (1..=20).map(swings(1.5)))]);
    let mut here = numbers("3.3", TaskName::Cifar10, [arm]);
    (here.length, here.paper_length) = (20, 20);
    let evidence = judge(&here, None).unwrap().evidence;
    assert!(evidence.contains("L4Adam 20.0 and 1.5"), "{evidence}");
    let at_end = "by statistics estimated anew, in per cent: L4Adam 81.50.";
    assert!(evidence.contains(at_end), "{evidence}");
}
