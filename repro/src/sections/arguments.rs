//! The command line of every section.

use std::ffi::{OsStr, OsString};

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, FromArgMatches, ValueEnum};
use indexmap::IndexSet;

use super::{Part, Section, Size, Unit};
use crate::cli::{Execution, Preset};
use crate::data::DataOptions;
use crate::engine::runner::RunnerError;

/// The options of every section.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// How much to run
    #[arg(long)]
    preset: Preset,

    /// Independent runs of each method, with seeds 0 to N-1 [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,

    /// Length of a run, where it counts epochs [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    epochs: Option<u64>,

    /// Length of a run, where it counts steps [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    steps: Option<u64>,

    /// Length of a run, where it counts sequences [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    sequences: Option<u64>,

    /// Methods to run, separated by commas [default: all]
    ///
    /// Quote a name with a star, a space or a parenthesis, of which the shell would make something else.
    #[arg(long, value_name = "NAMES", value_parser = Names(Vec::new()), ignore_case = true)]
    methods: Vec<Named>,

    /// Parts of the section to run, separated by commas [default: all that the preset has]
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        visible_alias = "task",
        ignore_case = true
    )]
    part: Vec<String>,

    /// Show what is finished, with the seeds that all methods have: compute no run, and time nothing (but what section 3.1 measures
    /// beside its runs, in seconds)
    #[arg(long, conflicts_with = "fresh")]
    pub(super) finished: bool,

    /// How runs are computed.
    #[command(flatten)]
    pub(super) execution: Execution,

    /// Where the data are.
    #[command(flatten)]
    pub(super) data: DataOptions,
}

/// The greatest length of a run.
const LONGEST: u64 = 1_000_000_000;

/// The names in one value of an option.
#[derive(Clone, Debug)]
struct Named(Vec<String>);

/// Reads names that are separated by commas and may have commas themselves, as `L4Adam, batch 8`.
#[derive(Clone)]
struct Names(Vec<&'static str>);

impl Names {
    /// The names in a text; or what begins with none of them.
    fn read(&self, text: &str) -> Result<Named, String> {
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        let (mut found, mut rest) = (Vec::new(), words.as_slice());
        while !rest.is_empty() {
            let known = |words: &&[&str]| {
                let name = words.join(", ");
                self.0.iter().any(|known| known.eq_ignore_ascii_case(&name))
            };
            let longest = (1..=rest.len()).rev().map(|n| &rest[..n]).find(known);
            let name = longest.ok_or_else(|| rest.join(", "))?;
            found.push(name.join(", "));
            rest = &rest[name.len()..];
        }
        Ok(Named(found))
    }
}

impl TypedValueParser for Names {
    type Value = Named;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Named, clap::Error> {
        let known = PossibleValuesParser::new(self.0.iter().copied());
        match self.read(&value.to_string_lossy()) {
            Ok(named) => Ok(named),
            // With the error that a single name would have had.
            Err(unknown) => known
                .parse_ref(command, arg, OsStr::new(&unknown))
                .map(|name| Named(vec![name])),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().copied().map(PossibleValue::new)))
    }
}

/// Reads a command line; the first word is the program's name.
///
/// # Errors
/// A [`clap::Error`] for wrong usage and for `--help`, which [`main`](crate::cli::main) turns into the exit code.
pub fn parse(
    section: &Section,
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Arguments, clap::Error> {
    let mut command = command(section);
    let arguments = Arguments::from_arg_matches(&command.try_get_matches_from_mut(words)?)?;
    let wanted = || section.parts.iter().filter(|part| arguments.wants(part));
    for unit in Unit::ALL {
        if arguments.length(unit).is_some() && !wanted().any(|part| part.unit == unit) {
            let name = unit.name();
            let error = format!("--{name} is for runs that count {name}, and none of these does");
            return Err(command.error(ErrorKind::ArgumentConflict, error));
        }
    }
    Ok(arguments)
}

fn command(section: &Section) -> Command {
    // All parts of a section have the presets of the first, or fewer.
    let sizes = section.parts[0].sizes.iter();
    let presets = sizes.map(|size| {
        let about = section
            .parts
            .iter()
            .filter_map(|part| part.size(size.preset).map(|size| (part, size)));
        let about: Vec<String> = about.map(|(part, size)| size.in_words(part.unit)).collect();
        PossibleValue::new(size.preset.name()).help(about.join(", and "))
    });
    let presets: Vec<PossibleValue> = presets.collect();
    let arms = section.parts.iter().flat_map(|part| part.arms);
    let names: IndexSet<&str> = arms.map(|arm| arm.name).collect();
    let parts: Vec<&str> = section.parts.iter().map(|part| part.name).collect();
    let has = |unit: Unit| section.parts.iter().any(|part| part.unit == unit);
    // The section's description comes last, as a derived `Args` brings its own doc comment along.
    let command = Arguments::augment_args(Command::new(section.binary));
    let foreign = Unit::ALL.into_iter().filter(|unit| !has(*unit));
    foreign
        .fold(command, |command, unit| {
            command.mut_arg(unit.name(), |arg| arg.hide(true))
        })
        .about(section.about)
        .long_about(None)
        .version(concat!(
            env!("CARGO_PKG_VERSION"),
            " (",
            env!("REPRO_GIT_COMMIT"),
            ")"
        ))
        .mut_arg("preset", |arg| {
            let presets = PossibleValuesParser::new(presets);
            arg.value_parser(presets.try_map(|name| Preset::from_str(&name, false)))
                .default_value(section.default.name())
                .required(false)
        })
        .mut_arg("methods", |arg| {
            arg.value_parser(Names(names.into_iter().collect()))
        })
        .mut_arg("part", |arg| arg.hide(parts.len() < 2).value_parser(parts))
        .after_help(
            "Ctrl-C keeps every run's last step, and says which command goes on from there. \
             With other options that keeps the runs that still apply.",
        )
}

impl Arguments {
    /// How much was asked for.
    #[must_use]
    pub fn preset(&self) -> Preset {
        self.preset
    }

    /// The length that was asked for of runs that count this.
    fn length(&self, unit: Unit) -> Option<u64> {
        match unit {
            Unit::Epochs => self.epochs,
            Unit::Steps => self.steps,
            Unit::Sequences => self.sequences,
        }
    }

    /// The size of a part that was asked for.
    pub(super) fn size(&self, part: &Part) -> Result<Size> {
        let size = part.size(self.preset).ok_or_else(|| {
            let (part, name) = (part.name, self.preset.name());
            RunnerError::Usage(format!(
                "{part} has no preset {name}: choose another, or another part"
            ))
        })?;
        Ok(Size {
            seeds: self.seeds.unwrap_or(size.seeds),
            length: self.length(part.unit).unwrap_or(size.length),
            ..size
        })
    }

    /// Whether a part was asked for.
    pub(super) fn wants(&self, part: &Part) -> bool {
        let named = |asked: &String| asked.eq_ignore_ascii_case(part.name);
        match self.part.is_empty() {
            true => part.size(self.preset).is_some(),
            false => self.part.iter().any(named),
        }
    }

    /// Whether a method was asked for.
    pub(super) fn wants_method(&self, name: &str) -> bool {
        let mut asked = self.methods.iter().flat_map(|named| &named.0);
        self.methods.is_empty() || asked.any(|asked| asked.eq_ignore_ascii_case(name))
    }
}

impl Size {
    fn in_words(&self, unit: Unit) -> String {
        let runs = if self.seeds == 1 { "run" } else { "runs" };
        let (seeds, length, unit) = (self.seeds, self.length, unit.name());
        let data = match (self.preset, self.examples) {
            (Preset::Smoke, _) => ": seconds, and no results",
            (_, Some(_)) => " on the first training images",
            _ => "",
        };
        format!("{seeds} {runs} of {length} {unit}{data}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::ALL;
    use super::*;

    #[test]
    fn each_method_is_offered_once() {
        for section in ALL {
            let command = command(section);
            let mut arguments = command.get_arguments();
            let methods = arguments.find(|argument| argument.get_id() == "methods");
            let names = methods.unwrap().get_possible_values();
            let different: HashSet<&str> = names.iter().map(|name| name.get_name()).collect();
            assert!(
                names.len() > 1 && names.len() == different.len(),
                "{}",
                section.number
            );
        }
    }

    #[test]
    fn each_method_can_be_asked_for_alone_and_with_others() {
        for section in ALL {
            let arms = section.parts.iter().flat_map(|part| part.arms);
            let names: Vec<&str> = arms.map(|arm| arm.name).collect();
            for pair in names.windows(2) {
                let [one, other] = [pair[0], pair[1]];
                let asked = |words: &[&str]| {
                    let words = ["x"].iter().chain(words).copied();
                    let arguments = parse(section, words).unwrap();
                    names
                        .iter()
                        .filter(|name| arguments.wants_method(name))
                        .copied()
                        .collect::<HashSet<&str>>()
                };
                let lower = one.to_lowercase();
                assert_eq!(asked(&["--methods", &lower]), HashSet::from([one]));
                let both = format!("{one},{other}");
                assert_eq!(asked(&["--methods", &both]), HashSet::from([one, other]));
                let apart = asked(&["--methods", one, "--methods", other]);
                assert_eq!(apart, HashSet::from([one, other]));
            }
        }
        let section3_6 = ALL.iter().find(|section| section.number == "3.6").unwrap();
        let words = ["x", "--methods", "L4Adam, batch 8,L4Mom, batch 7"];
        let error = parse(section3_6, words).unwrap_err().to_string();
        assert!(error.contains("'L4Mom, batch 7'"), "{error}");
    }

    #[test]
    fn a_length_is_one_of_the_parts_that_count_it() {
        let section = ALL.iter().find(|section| section.number == "3.6").unwrap();
        let lengths = |words: &[&str]| {
            let words = ["x", "--preset", "smoke"].iter().chain(words).copied();
            let arguments = parse(section, words).map_err(|error| error.to_string())?;
            let parts = section.parts.iter();
            Ok(parts
                .map(|part| arguments.size(part).unwrap().length)
                .collect::<Vec<u64>>())
        };
        let [mnist, dnc] = lengths(&[]).unwrap()[..] else {
            panic!("two parts")
        };
        assert_eq!(lengths(&["--epochs", "7"]), Ok(vec![7, dnc]));
        assert_eq!(lengths(&["--sequences", "7"]), Ok(vec![mnist, 7]));
        let refused: Result<_, String> = lengths(&["--steps", "7"]);
        assert!(
            refused
                .unwrap_err()
                .contains("--steps is for runs that count steps")
        );
        assert!(lengths(&["--part", "DNC", "--epochs", "7"]).is_err());
    }

    #[test]
    fn a_preset_is_one_of_the_sections_own() {
        let preset =
            |words: &[&str]| parse(ALL[0], words.iter().copied()).map(|parsed| parsed.preset());
        assert_eq!(preset(&["x", "--preset", "smoke"]).unwrap(), Preset::Smoke);
        assert_eq!(preset(&["x"]).unwrap(), ALL[0].default);
        assert!(preset(&["x", "--preset", "huge"]).is_err());
        assert!(preset(&["x", "--finished", "--fresh"]).is_err());
    }
}
