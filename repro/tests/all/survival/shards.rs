//! Processes that share the runs of a command.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output};

use tempfile::tempdir;

use super::{
    as_child, checkpointed, complete, run_directory, spawn, stderr, stdout, undisturbed, wait_until,
};
use crate::support::deterministic_files;

/// Runs that a process says it computed.
fn computed(output: &Output) -> usize {
    assert!(output.status.success(), "{}", stderr(output));
    let text = stderr(output);
    let (before, _) = text.split_once(" runs computed").expect("it says so");
    before.lines().last().unwrap().parse().unwrap()
}

#[test]
fn parts_of_which_one_is_killed_and_started_again_make_the_whole() {
    let whole = undisturbed("--seeds 5 --steps 200");
    let out = tempdir().unwrap();
    let part = |part| {
        format!("--seeds 5 --steps 200 --step-ms 2 --checkpoint-ms 1 --jobs 1 --shard {part}/2")
    };
    let first = spawn(out.path(), &part(1));
    let mut second = spawn(out.path(), &part(2));
    let path = run_directory(out.path(), 1, 200);
    wait_until("the second has a checkpoint", || checkpointed(&path) > 0);
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(
        checkpointed(&path) < 200,
        "the kill came too late to show anything"
    );
    let second = complete(out.path(), &part(2));
    let first = first.wait_with_output().unwrap();
    assert_eq!((computed(&first), computed(&second)), (3, 2));
    assert!(
        stdout(&second).contains("part 2 of 2 is done"),
        "{}",
        stdout(&second)
    );
    assert!(
        !stdout(&first).contains("results in"),
        "no part writes results"
    );

    let again = complete(out.path(), &part(1));
    assert!(
        stdout(&again).contains("All 5 runs are finished"),
        "{}",
        stdout(&again)
    );
    assert_eq!(computed(&complete(out.path(), "--seeds 5 --steps 200")), 0);
    assert!(deterministic_files(out.path()) == deterministic_files(whole.path()));
}

#[test]
fn what_no_part_has_computed_the_whole_computes() {
    let out = tempdir().unwrap();
    let part = complete(out.path(), "--seeds 5 --steps 20 --shard 2/3");
    assert_eq!(computed(&part), 2);
    let text = stdout(&part);
    assert!(
        text.contains("Of 5 runs 2 are finished") && text.contains("seed=0 (of another part)"),
        "{text}"
    );
    assert_eq!(computed(&complete(out.path(), "--seeds 5 --steps 20")), 3);
}

#[test]
fn no_run_is_computed_by_two_processes() {
    let out = tempdir().unwrap();
    let options = "--seeds 6 --steps 100 --step-ms 10 --jobs 2 --shard 1/1";
    let processes: Vec<Child> = (0..3).map(|_| spawn(out.path(), options)).collect();
    let outputs: Vec<Output> = processes
        .into_iter()
        .map(|process| process.wait_with_output().unwrap())
        .collect();
    assert_eq!(outputs.iter().map(computed).sum::<usize>(), 6);
    assert!(
        outputs
            .iter()
            .any(|output| stderr(output).contains("passing over"))
    );
}

#[test]
fn the_whole_waits_for_a_run_of_a_part_and_takes_it_over_if_that_dies() {
    let whole = undisturbed("--steps 400");
    for dies in [false, true] {
        let out = tempdir().unwrap();
        let options = "--steps 400 --step-ms 10 --checkpoint-ms 1";
        let mut part = spawn(out.path(), &format!("{options} --shard 1/1"));
        let path = run_directory(out.path(), 0, 400);
        wait_until("the part has a checkpoint", || checkpointed(&path) > 0);
        let mut all = spawn(out.path(), options);
        let mut progress = BufReader::new(all.stderr.take().unwrap()).lines();
        let waiting = progress
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.starts_with("waiting for"));
        let told = waiting.expect("it waits");
        assert!(
            told.contains(&format!("process {} on ", part.id())),
            "{told}"
        );
        if dies {
            part.kill().unwrap();
        }
        part.wait().unwrap();
        let sum = progress
            .map(Result::unwrap)
            .find(|line| line.contains("runs computed"))
            .unwrap();
        assert!(
            sum.starts_with(if dies { "1 runs" } else { "0 runs" }),
            "{sum}"
        );
        assert!(all.wait().unwrap().success());
        assert!(deterministic_files(out.path()) == deterministic_files(whole.path()));
    }
}

#[test]
fn a_task_of_a_slurm_array_computes_its_part_and_says_so() {
    let out = tempdir().unwrap();
    let task = |options: &str| {
        let mut command = Command::new(env::current_exe().unwrap());
        for (name, value) in [("ID", "7"), ("MIN", "5"), ("COUNT", "2"), ("STEP", "2")] {
            command.env(format!("SLURM_ARRAY_TASK_{name}"), value);
        }
        let mut command = as_child(command, out.path(), options);
        command.spawn().unwrap().wait_with_output().unwrap()
    };
    let part = task("--seeds 5 --steps 20");
    assert_eq!(computed(&part), 2);
    assert!(
        stderr(&part).contains("part 2 of 2 (of the Slurm array"),
        "{}",
        stderr(&part)
    );
    assert_eq!(
        computed(&task("--seeds 5 --steps 20 --shard 1/5")),
        1,
        "an option wins"
    );
    assert_eq!(computed(&task("--seeds 5 --steps 20 --shard all")), 2);
}
