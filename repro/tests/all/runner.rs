//! The runner within one process: order, isolation, reuse, damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use repro::engine::conformance;
use repro::engine::provenance::{DataSet, GIT_COMMIT, RunsBy, this_machine};
use repro::engine::reference;
use repro::engine::run::{Outcome, RunResult, RunSpec};
use repro::engine::runner::{Options, Planned, Runner, RunnerError};
use repro::numbers::{ArmNumbers, Numbers, RunNumbers};
use repro::results::{Cell, CellOfRuns, Divergence};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::{TempDir, tempdir};

use crate::support::{Fate, Flaw, Flawed, Walk, deterministic_files, run_directory, spec, walk};

const STEPS: u64 = 100;

fn calm() -> Fate {
    Fate::default()
}

fn run(out: &Path, planned: &[Planned<'_>]) -> Result<Vec<RunResult>, RunnerError> {
    Runner::open(Options::new(out))?.run(planned)
}

/// A directory with one finished run and the path of the run's directory.
fn finished() -> (TempDir, PathBuf) {
    let out = tempdir().unwrap();
    run(out.path(), &[walk(0, STEPS, calm())]).unwrap();
    let path = run_directory(out.path(), 0, STEPS);
    (out, path)
}

fn without_times(mut results: Vec<RunResult>) -> Vec<RunResult> {
    results
        .iter_mut()
        .for_each(|result| result.timing = Default::default());
    results
}

#[test]
fn the_test_experiment_keeps_its_promises() {
    conformance::check(|| Ok(Walk::new(&spec(3, STEPS), calm()))).unwrap();
    let diverging = Fate {
        diverge_at: Some(60),
        ..calm()
    };
    conformance::check(|| Ok(Walk::new(&spec(3, STEPS), diverging))).unwrap();
}

#[test]
fn results_are_in_order_and_independent_of_jobs_to_the_bit() {
    let compute = |jobs| {
        let out = tempdir().unwrap();
        let runner = Runner::open(Options {
            jobs,
            ..Options::new(out.path())
        })
        .unwrap();
        // The first are the longest, so that with several jobs later ones end earlier.
        let planned: Vec<_> = (0..7)
            .map(|seed| walk(seed, 50 * (8 - seed), calm()))
            .collect();
        let results = runner.run(&planned).unwrap();
        drop(runner);
        (without_times(results), deterministic_files(out.path()))
    };
    let (results, files) = compute(1);
    assert_eq!(
        results
            .iter()
            .map(|result| result.spec.seed)
            .collect::<Vec<_>>(),
        (0..7).collect::<Vec<_>>()
    );
    assert_eq!(results[2].metrics.get("loss").unwrap().values.len(), 300);
    assert_eq!(files.len(), 7 * 4);
    assert_eq!(compute(3), (results, files));
}

#[test]
fn a_finished_run_is_read_back_and_not_computed_again() {
    let out = tempdir().unwrap();
    let set_ups = AtomicUsize::new(0);
    let planned = [Planned::new(spec(0, STEPS), |spec| {
        set_ups.fetch_add(1, Ordering::Relaxed);
        Ok(Walk::new(spec, calm()))
    })];
    let computed = run(out.path(), &planned).unwrap();
    let read = run(out.path(), &planned).unwrap();
    assert_eq!(computed, read, "with the times");
    assert_eq!(set_ups.load(Ordering::Relaxed), 1);

    let fresh = Runner::open(Options {
        fresh: true,
        ..Options::new(out.path())
    })
    .unwrap();
    let directory = run_directory(out.path(), 0, STEPS);
    let lock = fs::File::open(directory.join(".lock")).unwrap();
    let again = fresh.run(&planned).unwrap();
    assert_eq!(set_ups.load(Ordering::Relaxed), 2);
    // Another process may be about to take it: a lock on a file that is gone would be seen by no one.
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::MetadataExt::nlink(&lock.metadata().unwrap()),
        1
    );
    assert_eq!(without_times(again), without_times(computed));
    fresh.run(&planned).unwrap();
    assert_eq!(
        set_ups.load(Ordering::Relaxed),
        2,
        "fresh discards what was there before, not what it made"
    );
}

#[test]
fn a_fresh_start_leaves_nothing_old_for_a_command_that_goes_on_from_it() {
    let out = tempdir().unwrap();
    let finished = |seed| {
        let directory = run_directory(out.path(), seed, STEPS);
        directory.join("result.json")
    };
    let planned = [walk(0, STEPS, calm()), walk(1, STEPS, calm())];
    run(out.path(), &planned).unwrap();
    assert!(finished(0).exists() && finished(1).exists());
    let fresh = Runner::open(Options {
        fresh: true,
        ..Options::new(out.path())
    })
    .unwrap();
    let other = finished(1);
    let first = Planned::new(spec(0, STEPS), move |spec| {
        assert!(!other.exists(), "that of the run whose turn is yet to come");
        Ok(Walk::new(spec, calm()))
    });
    fresh.run(&[first, walk(1, STEPS, calm())]).unwrap();
}

#[test]
fn committed_runs_are_taken_but_where_weights_matter() {
    let (made, out) = (tempdir().unwrap(), tempdir().unwrap());
    let results = run(made.path(), &[walk(0, STEPS, calm())]).unwrap();
    let store = tempdir().unwrap();
    let arm = ArmNumbers::measurement("walk", results.iter().map(RunNumbers::of).collect());
    let numbers = Numbers {
        arms: vec![arm],
        ..Numbers::default()
    };
    reference::write(store.path(), vec![numbers]).unwrap();
    let set_ups = AtomicUsize::new(0);
    let counting = || {
        Planned::new(spec(0, STEPS), |spec| {
            set_ups.fetch_add(1, Ordering::Relaxed);
            Ok(Walk::new(spec, calm()))
        })
    };
    let runner = Runner::open(Options {
        reference: Some(store.path().to_owned()),
        ..Options::new(out.path())
    })
    .unwrap();
    assert_eq!(runner.run(&[counting()]).unwrap(), results);
    assert_eq!(set_ups.load(Ordering::Relaxed), 0);
    runner.run(&[counting().here()]).unwrap();
    assert_eq!(
        set_ups.load(Ordering::Relaxed),
        1,
        "its weights are to be here"
    );
}

#[test]
fn runs_whose_times_matter_are_computed_one_by_one() {
    let out = tempdir().unwrap();
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let planned: Vec<Planned<'_>> = (0..4)
        .map(|seed| {
            Planned::new(spec(seed, STEPS), |spec| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(Walk::new(spec, calm()))
            })
            .alone()
        })
        .collect();
    let jobs = 4;
    let options = Options {
        jobs,
        ..Options::new(out.path())
    };
    Runner::open(options).unwrap().run(&planned).unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_run_that_is_asked_for_twice_is_computed_once() {
    let out = tempdir().unwrap();
    let results = run(
        out.path(),
        &[walk(0, STEPS, calm()), walk(0, STEPS, calm())],
    )
    .unwrap();
    assert_eq!(results[0], results[1]);
    assert_eq!(out.path().join("runs").read_dir().unwrap().count(), 1);
}

#[test]
fn a_changed_configuration_is_a_different_run() {
    let out = tempdir().unwrap();
    let planned = |alpha: f64| {
        let mut spec = spec(0, STEPS);
        spec.settings["alpha"] = alpha.into();
        [Planned::new(spec, |spec| Ok(Walk::new(spec, calm())))]
    };
    run(out.path(), &planned(0.25)).unwrap();
    run(out.path(), &planned(0.26)).unwrap();
    assert_eq!(out.path().join("runs").read_dir().unwrap().count(), 2);
}

#[test]
fn a_run_that_diverges_ends_there_and_the_others_go_on() {
    let out = tempdir().unwrap();
    let planned = [
        walk(0, STEPS, calm()),
        walk(
            1,
            STEPS,
            Fate {
                diverge_at: Some(42),
                ..calm()
            },
        ),
        walk(2, STEPS, calm()),
    ];
    let results = run(out.path(), &planned).unwrap();
    assert_eq!(
        results[1].outcome,
        Outcome::Diverged {
            step: 42,
            reason: "loss is NaN".to_owned()
        }
    );
    assert_eq!(
        results[1].metrics.get("loss").unwrap().steps.last(),
        Some(&41)
    );
    let state = |seed| {
        let directory = run_directory(out.path(), seed, STEPS);
        directory.join("checkpoint.safetensors").exists()
    };
    assert_eq!(
        [0, 1, 2].map(state),
        [true, false, true],
        "its state is no use"
    );
    assert_eq!(
        run(out.path(), &planned).unwrap(),
        results,
        "it is not computed again"
    );

    let at = |step: u64| {
        Cell::over(&results, |result| {
            let loss = result.metrics.get("loss")?;
            let index = loss.steps.binary_search(&step).ok()?;
            loss.values.get(index).copied()
        })
    };
    assert_eq!(
        (at(42).n, at(42).diverged),
        (2, vec![Divergence { seed: 1, step: 42 }])
    );
    assert_eq!((at(41).n, at(41).diverged), (3, vec![]), "it got to there");
}

#[test]
fn a_run_that_fails_or_panics_is_reported_and_the_others_are_kept() {
    for (fate, reason) in [
        (
            Fate {
                fail_at: Some(5),
                ..calm()
            },
            "fate struck at step 5",
        ),
        (
            Fate {
                panic_at: Some(5),
                ..calm()
            },
            "a defect of the program",
        ),
    ] {
        let out = tempdir().unwrap();
        let error = run(out.path(), &[walk(0, STEPS, fate), walk(1, STEPS, calm())])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("1 of 2 runs failed")
                && error.contains("seed=0")
                && error.contains(reason),
            "{error}"
        );

        // Once the cause is gone, only the failed run is computed.
        let refuses = Planned::new(spec(1, STEPS), |_| -> anyhow::Result<Walk> {
            unreachable!()
        });
        run(out.path(), &[walk(0, STEPS, calm()), refuses]).unwrap();
    }
}

#[test]
fn a_broken_promise_is_found() {
    for (flaw, found) in [
        (Flaw::MakesNoProgress, "did not finish"),
        (Flaw::ExceedsItsSlice, "advance(1) did 2 steps"),
        (Flaw::LogsOncePerSlice, "the metrics depend on slicing"),
        (
            Flaw::ForgetsItsMean,
            "the metrics depend on slicing, or the checkpoint is incomplete",
        ),
        (Flaw::ForgetsItsPosition, "loses the position"),
        (Flaw::LogsAfterTheEnd, "logs something after its last step"),
    ] {
        let error = conformance::check(|| Ok(flawed(&spec(3, STEPS), flaw))).unwrap_err();
        assert!(error.to_string().contains(found), "{flaw:?}: {error:#}");
    }
}

fn flawed(spec: &RunSpec, flaw: Flaw) -> Flawed {
    Flawed {
        walk: Walk::new(spec, calm()),
        flaw,
    }
}

#[test]
fn an_experiment_that_makes_no_progress_or_resumes_elsewhere_is_stopped() {
    let out = tempdir().unwrap();
    let plan = |flaw| Planned::new(spec(0, STEPS), move |spec| Ok(flawed(spec, flaw)));
    let error = run(out.path(), &[plan(Flaw::MakesNoProgress)])
        .unwrap_err()
        .to_string();
    assert!(error.contains("made no step beyond 0"), "{error}");

    let (out, path) = finished();
    gone(&path, "result.json");
    let error = run(out.path(), &[plan(Flaw::ForgetsItsPosition)])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is of step 100, but the experiment resumed at 0"),
        "{error}"
    );
}

#[test]
fn what_a_section_must_not_ask_for_is_refused_before_any_work() {
    let out = tempdir().unwrap();
    let mut infinite = spec(0, STEPS);
    infinite.settings["alpha"] = f64::INFINITY.into();
    let error = run(
        out.path(),
        &[Planned::new(infinite, |spec| Ok(Walk::new(spec, calm())))],
    )
    .unwrap_err();
    assert!(error.to_string().contains("the setting /alpha"), "{error}");
    assert_eq!(out.path().join("runs").read_dir().unwrap().count(), 0);
}

#[test]
fn damage_is_reported_by_file_and_leaves_other_runs_alone() {
    type Damage = fn(&[u8]) -> Vec<u8>;
    let damages: [(&str, Damage); 3] = [
        ("cut short", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("emptied", |_| Vec::new()),
        ("overwritten", |bytes| vec![0xff; bytes.len()]),
    ];
    for file in [
        "config.json",
        "metrics.jsonl",
        "timing.json",
        "result.json",
        "checkpoint.safetensors",
    ] {
        for (what, damage) in damages {
            let (out, path) = finished();
            if file == "checkpoint.safetensors" {
                // It is read only as long as there is no result.
                fs::remove_file(path.join("result.json")).unwrap();
            }
            let bytes = fs::read(path.join(file)).unwrap();
            fs::write(path.join(file), damage(&bytes)).unwrap();

            let error = run(
                out.path(),
                &[walk(0, STEPS, calm()), walk(1, STEPS, calm())],
            )
            .unwrap_err()
            .to_string();
            assert!(
                error.contains(path.join(file).to_str().unwrap()),
                "{file} {what}: {error}"
            );
            assert!(
                error.contains("1 of 2 runs failed"),
                "{file} {what}: {error}"
            );
            let advice = format!("Delete the directory {} ", path.display());
            assert!(error.contains(&advice), "{file} {what}: {error}");

            fs::remove_dir_all(&path).unwrap();
            run(
                out.path(),
                &[walk(0, STEPS, calm()), walk(1, STEPS, calm())],
            )
            .unwrap();
        }
    }
}

#[test]
fn a_changed_digit_is_found_wherever_it_is() {
    let (out, path) = finished();
    let whole = run(out.path(), &[walk(0, STEPS, calm())]).unwrap();
    for name in ["config.json", "metrics.jsonl", "timing.json", "result.json"] {
        let file = path.join(name);
        let bytes = fs::read(&file).unwrap();
        let digits = (0..bytes.len()).filter(|&place| bytes[place].is_ascii_digit());
        let mut found = 0;
        for place in digits.step_by(7) {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            fs::write(&file, changed).unwrap();
            match run(out.path(), &[walk(0, STEPS, calm())]) {
                // The seventeenth digit of a number need not change it.
                Ok(results) => assert_eq!(results, whole, "{name} {place}"),
                Err(error) => {
                    assert!(error.to_string().contains(name), "{name} {place}: {error}");
                    found += 1;
                }
            }
        }
        assert!(found > 3, "{name}");
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_changed_digit_before_a_checkpoint_is_found() {
    let (out, path) = finished();
    gone(&path, "result.json");
    let file = path.join("metrics.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\"step\":7", "\"step\":8", 1)).unwrap();
    let error = run(out.path(), &[walk(0, STEPS, calm())])
        .unwrap_err()
        .to_string();
    assert!(error.contains("metrics.jsonl is damaged"), "{error}");
}

#[test]
fn a_run_without_its_configuration_is_damaged_and_not_taken_for_one_of_this_code() {
    for also_gone in [&[][..], &["result.json"]] {
        let (out, path) = finished();
        gone(&path, "config.json");
        also_gone.iter().for_each(|name| gone(&path, name));
        let error = run(out.path(), &[walk(0, STEPS, calm())])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("config.json is damaged: it is missing"),
            "{error}"
        );
        assert!(!path.join("config.json").exists());
    }
}

#[test]
fn a_file_of_another_run_is_refused() {
    for file in ["config.json", "checkpoint.safetensors", "timing.json"] {
        let (out, path) = finished();
        let (other_out, other) = finished();
        run(other_out.path(), &[walk(1, STEPS, calm())]).unwrap();
        let stranger = other
            .with_file_name(spec(1, STEPS).directory_name())
            .join(file);
        fs::copy(stranger, path.join(file)).unwrap();
        fs::remove_file(path.join("result.json")).unwrap();
        let error = run(out.path(), &[walk(0, STEPS, calm())])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(file) && error.contains("another run"),
            "{error}"
        );
    }
}

/// The states that a crash between two writes leaves, which a real kill seldom hits.
#[test]
fn every_state_between_two_writes_leads_to_the_same_end() {
    let (whole_out, _) = finished();
    let whole = deterministic_files(whole_out.path());
    let states: [fn(&Path); 6] = [
        // The directory is made, its configuration is not written.
        |path| {
            [
                "config.json",
                "metrics.jsonl",
                "checkpoint.safetensors",
                "result.json",
            ]
            .iter()
            .for_each(|name| gone(path, name))
        },
        // The configuration is written, nothing else.
        |path| {
            [
                "metrics.jsonl",
                "timing.json",
                "checkpoint.safetensors",
                "result.json",
            ]
            .iter()
            .for_each(|name| gone(path, name))
        },
        // Some rows, the last cut short, and no checkpoint.
        |path| {
            ["timing.json", "checkpoint.safetensors", "result.json"]
                .iter()
                .for_each(|name| gone(path, name));
            let rows = fs::read(path.join("metrics.jsonl")).unwrap();
            fs::write(path.join("metrics.jsonl"), &rows[..1000]).unwrap();
        },
        // Times of a checkpoint that is not there.
        |path| {
            ["checkpoint.safetensors", "result.json"]
                .iter()
                .for_each(|name| gone(path, name))
        },
        // The last checkpoint is written, the result is not.
        |path| gone(path, "result.json"),
        // The result is half written under its temporary name.
        |path| fs::rename(path.join("result.json"), path.join(".result.json.tmp")).unwrap(),
    ];
    for (index, damage) in states.iter().enumerate() {
        let (out, path) = finished();
        damage(&path);
        run(out.path(), &[walk(0, STEPS, calm())]).unwrap();
        assert!(deterministic_files(out.path()) == whole, "state {index}");
    }
}

fn gone(path: &Path, name: &str) {
    fs::remove_file(path.join(name)).unwrap();
}

/// Changes what is in a file of a run, and its digest with it.
fn reseal(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut sealed: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut sealed["content"]);
    let digest = Sha256::digest(json!([sealed["run"], sealed["content"]]).to_string());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    sealed["sha256"] = hex.into();
    fs::write(file, sealed.to_string()).unwrap();
}

#[test]
fn the_last_weights_stay_only_if_wanted() {
    let out = tempdir().unwrap();
    let options = Options {
        keep_final_checkpoint: false,
        checkpoint_period: Duration::ZERO,
        ..Options::new(out.path())
    };
    Runner::open(options)
        .unwrap()
        .run(&[walk(0, STEPS, calm())])
        .unwrap();
    let path = run_directory(out.path(), 0, STEPS);
    assert!(path.join("result.json").exists() && !path.join("checkpoint.safetensors").exists());

    let (_out, path) = finished();
    let bytes = fs::read(path.join("checkpoint.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("mean").unwrap().shape(), [3, 1]);
}

#[test]
fn provenance_counts_each_run_once_and_names_the_code_of_earlier_ones() {
    let (out, path) = finished();
    reseal(&path.join("config.json"), |config| {
        config["git_commit"] = "0123abc".into();
        config.as_object_mut().unwrap().remove("machine");
    });
    let runner = Runner::open(Options {
        jobs: 2,
        ..Options::new(out.path())
    })
    .unwrap();
    let planned = [
        walk(0, STEPS, calm()),
        walk(
            1,
            STEPS,
            Fate {
                step_ms: 1,
                ..calm()
            },
        ),
    ];
    let results = runner.run(&planned).unwrap();
    runner.run(&planned).unwrap();

    let provenance = runner.provenance(DataSet::generated("walk"));
    let by = |commit: &str, machine: Option<String>| RunsBy {
        count: 1,
        commit: commit.to_owned(),
        machine,
    };
    assert_eq!(
        provenance.runs,
        [by("0123abc", None), by(GIT_COMMIT, Some(this_machine()))]
    );
    let seconds: f64 = results
        .iter()
        .map(|result| result.timing.wall_seconds)
        .sum();
    assert!(seconds >= 0.1, "100 steps of 1 ms");
    assert_eq!(provenance.run_seconds, seconds);
    assert_eq!(results[1].timing.milestones["tenth step"].step, 10);
}

/// A search asks first for all that it surely needs, then for each method's runs by themselves, and for more as it learns.
#[test]
fn a_run_is_of_the_same_part_in_every_list() {
    let planned: Vec<Planned<'_>> = (0..8).map(|seed| walk(seed, STEPS, calm())).collect();
    let (first, again) = (&planned[..5], &planned[3..]);
    let computed = |index: u32| -> Vec<u64> {
        let out = tempdir().unwrap();
        let runner = Runner::open(Options {
            shard: Some(format!("{index}/2").parse().unwrap()),
            ..Options::new(out.path())
        })
        .unwrap();
        assert!(runner.try_run(first).unwrap().is_none());
        assert!(runner.try_run(again).unwrap().is_none());
        let finished = |seed: &u64| {
            let directory = run_directory(out.path(), *seed, STEPS);
            directory.join("result.json").exists()
        };
        (0..8).filter(finished).collect()
    };
    let parts = [computed(1), computed(2)];
    assert_eq!(parts[0][..3], [0, 2, 4]);
    let mut all = parts.concat();
    all.sort_unstable();
    assert_eq!(all, (0..8).collect::<Vec<u64>>(), "each run in one part");
}

/// Another machine's instruction set may give other bits.
#[test]
fn a_run_that_goes_on_elsewhere_says_so() {
    let (out, path) = finished();
    gone(&path, "result.json");
    reseal(&path.join("config.json"), |config| {
        config["machine"] = "Elsewhere (SSE2)".into();
    });
    let planned = [walk(0, STEPS, calm())];
    let expected = format!("Elsewhere (SSE2), then {}", this_machine());
    for _ in 0..2 {
        let results = run(out.path(), &planned).unwrap();
        assert_eq!(results[0].machine.as_ref(), Some(&expected));
    }
}

/// Times are written before the checkpoint, so that a crash in between leaves marks of steps which are to be done again.
#[test]
fn a_mark_beyond_the_checkpoint_is_forgotten() {
    let (out, path) = finished();
    gone(&path, "result.json");
    reseal(&path.join("timing.json"), |timing| {
        *timing = json!({"wall_seconds": 2.5, "milestones": {
            "reached": {"step": 100, "seconds": 2.0}, "to come": {"step": 101, "seconds": 2.25}
        }});
    });
    let results = run(out.path(), &[walk(0, STEPS, calm())]).unwrap();
    let timing = &results[0].timing;
    assert_eq!(timing.milestones.keys().collect::<Vec<_>>(), ["reached"]);
    assert!(
        (2.5..3.5).contains(&timing.wall_seconds),
        "the clock went on"
    );
}
