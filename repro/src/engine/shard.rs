//! One of several processes that share the runs of a command, on one machine or on many: `--shard 2/4`.
//!
//! Part I of N has the runs at the places I, I + N, I + 2N and so on in the command's list of runs, counted from 1, whether
//! they are finished or not: so it is the same part whenever it is started. Of runs that a command asks for later, as a search does
//! when it has seen the first, a part has those that their identity says, since which come when depends on what is finished. All
//! parts keep their runs in one output directory. None writes results; the same command without a part does.

use std::fmt;
use std::str::FromStr;

/// Which part of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1 to `count`.
    index: u32,
    count: u32,
    slurm: bool,
}

impl Shard {
    /// Whether the run at this place of the list, counted from 0, is in this part.
    #[must_use]
    pub fn has(self, place: usize) -> bool {
        place % self.count as usize == self.index as usize - 1
    }

    /// The part that a task of a Slurm array has, by the variables that Slurm sets in it; `None` outside an array. Task T of an
    /// array of N whose first is M, in steps of S, has part (T − M) / S + 1 of N.
    ///
    /// # Errors
    /// If the variables are not numbers, or the array's tasks are not M, M + S, M + 2S and so on without a gap.
    pub fn of_slurm(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let Some(task) = variable("SLURM_ARRAY_TASK_ID") else {
            return Ok(None);
        };
        let number = |name: &str, text: Option<String>| -> Result<u32, String> {
            let text =
                text.ok_or_else(|| format!("{name} is missing beside SLURM_ARRAY_TASK_ID"))?;
            let number = text.parse();
            number.map_err(|_| format!("{name} is `{text}`, expected a number"))
        };
        let of = |name: &str| number(name, variable(name));
        let task = number("SLURM_ARRAY_TASK_ID", Some(task))?;
        let (first, count) = (of("SLURM_ARRAY_TASK_MIN")?, of("SLURM_ARRAY_TASK_COUNT")?);
        let step_name = "SLURM_ARRAY_TASK_STEP";
        let step = number(step_name, variable(step_name).or(Some("1".to_owned())))?;
        let place = task
            .checked_sub(first)
            .filter(|&ahead| step > 0 && ahead % step == 0 && ahead / step < count)
            .ok_or_else(|| {
                format!(
                    "task {task} of a Slurm array of {count} that begins at {first} in steps of {step}: an array with gaps does \
                     not say which part this is. Give it with --shard"
                )
            })?;
        Ok(Some(Self {
            index: place / step + 1,
            count,
            slurm: true,
        }))
    }
}

/// As `2/4`.
impl FromStr for Shard {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let numbers = word.split_once('/').and_then(|(index, count)| {
            let (index, count) = (index.parse().ok()?, count.parse().ok()?);
            (1 <= index && index <= count).then_some((index, count))
        });
        let (index, count) =
            numbers.ok_or("expected I/N with I from 1 to N, as 2/4; `all`, or `auto`")?;
        Ok(Self {
            index,
            count,
            slurm: false,
        })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part {} of {}", self.index, self.count)?;
        match self.slurm {
            true => write!(f, " (of the Slurm array; --shard all is the whole)"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_a_partition() {
        for count in 1..5 {
            let parts: Vec<Shard> = (1..=count)
                .map(|index| format!("{index}/{count}").parse().unwrap())
                .collect();
            for place in 0..13 {
                let having = parts.iter().filter(|part| part.has(place)).count();
                assert_eq!(having, 1, "place {place} of {count} parts");
            }
            assert!(parts[0].has(0) && parts[count - 1].has(2 * count - 1));
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for word in [
            "",
            "1",
            "0/4",
            "5/4",
            "-1/4",
            "1/0",
            "a/b",
            "1/4/2",
            "1/4294967296",
        ] {
            assert!(word.parse::<Shard>().is_err(), "{word}");
        }
        assert!("4294967295/4294967295".parse::<Shard>().is_ok());
    }

    fn of_slurm(variables: &[(&str, &str)]) -> Result<Option<Shard>, String> {
        Shard::of_slurm(|name| {
            let found = variables
                .iter()
                .find(|(variable, _)| name == format!("SLURM_ARRAY_TASK_{variable}"));
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_task_of_a_slurm_array_has_its_part() {
        let part = |id, min, count, step| {
            let shard = of_slurm(&[("ID", id), ("MIN", min), ("COUNT", count), ("STEP", step)])?;
            shard
                .map(|shard| (shard.index, shard.count))
                .ok_or(String::new())
        };
        assert_eq!(part("0", "0", "4", "1"), Ok((1, 4)));
        assert_eq!(part("4", "1", "4", "1"), Ok((4, 4)));
        assert_eq!(part("16", "10", "4", "2"), Ok((4, 4)));
        for [id, min, count, step] in [
            ["7", "1", "3", "1"],
            ["0", "1", "3", "1"],
            ["11", "10", "4", "2"],
            ["1", "1", "0", "1"],
            ["1", "1", "1", "0"],
            ["x", "1", "1", "1"],
            ["-1", "1", "1", "1"],
            ["99999999999", "1", "1", "1"],
        ] {
            assert!(
                part(id, min, count, step).is_err(),
                "{id} {min} {count} {step}"
            );
        }
        assert_eq!(of_slurm(&[]), Ok(None));
        assert!(
            of_slurm(&[("ID", "1")])
                .unwrap_err()
                .contains("MIN is missing")
        );
        let without_step = of_slurm(&[("ID", "2"), ("MIN", "1"), ("COUNT", "2")]);
        assert_eq!(without_step.unwrap().unwrap().index, 2);
    }
}
