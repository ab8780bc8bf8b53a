//! The command line of every section.

use std::ffi::OsString;

use anyhow::{Context, Result};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Command, FromArgMatches, ValueEnum};
use indexmap::IndexSet;

use super::{Part, Section, Size, Unit};
use crate::cli::{Execution, Preset};
use crate::data::DataOptions;

/// The options of every section.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// How much to run
    #[arg(long)]
    preset: Preset,

    /// Independent runs of each method, with seeds 0 to N-1 [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,

    /// Length of a run [default: as the preset has it]
    #[arg(long, value_name = "N", visible_aliases = ["epochs", "steps", "sequences"], value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    length: Option<u64>,

    /// Methods to run, separated by commas [default: all]
    ///
    /// Quote a name with a star, a space or a parenthesis, of which the shell would make something else.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', ignore_case = true)]
    methods: Vec<String>,

    /// Parts of the section to run, separated by commas [default: all that the preset has]
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        visible_alias = "task",
        ignore_case = true
    )]
    part: Vec<String>,

    /// Show what is finished, with the seeds that all methods have: compute no run, and time nothing
    #[arg(long, conflicts_with = "fresh")]
    pub(super) finished: bool,

    /// How runs are computed.
    #[command(flatten)]
    pub(super) execution: Execution,

    /// Where the data are.
    #[command(flatten)]
    pub(super) data: DataOptions,
}

/// Reads a command line; the first word is the program's name.
///
/// # Errors
/// A [`clap::Error`] for wrong usage and for `--help`, which [`main`](crate::cli::main) turns into the exit code.
pub fn parse(
    section: &Section,
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Arguments, clap::Error> {
    let matches = command(section).try_get_matches_from(words)?;
    Arguments::from_arg_matches(&matches)
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
    // The section's description comes last, as a derived `Args` brings its own doc comment along.
    Arguments::augment_args(Command::new(section.binary))
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
            arg.value_parser(names.into_iter().collect::<Vec<_>>())
        })
        .mut_arg("part", |arg| arg.hide(parts.len() < 2).value_parser(parts))
        .after_help(
            "Ctrl-C keeps every run's last step; the same command again resumes. \
             With other options it keeps the runs that still apply.",
        )
}

impl Arguments {
    /// Where the data are.
    #[must_use]
    pub fn data(&self) -> &DataOptions {
        &self.data
    }

    /// How much was asked for.
    #[must_use]
    pub fn preset(&self) -> Preset {
        self.preset
    }

    /// The size of a part that was asked for.
    pub(super) fn size(&self, part: &Part) -> Result<Size> {
        let size = part.size(self.preset).with_context(|| {
            let name = self.preset.name();
            format!(
                "{} has no preset {name}: choose another, or another part",
                part.name
            )
        })?;
        Ok(Size {
            seeds: self.seeds.unwrap_or(size.seeds),
            length: self.length.unwrap_or(size.length),
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
        let named = |asked: &String| asked.eq_ignore_ascii_case(name);
        self.methods.is_empty() || self.methods.iter().any(named)
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
    fn a_preset_is_one_of_the_sections_own() {
        let preset =
            |words: &[&str]| parse(ALL[0], words.iter().copied()).map(|parsed| parsed.preset());
        assert_eq!(preset(&["x", "--preset", "smoke"]).unwrap(), Preset::Smoke);
        assert_eq!(preset(&["x"]).unwrap(), ALL[0].default);
        assert!(preset(&["x", "--preset", "huge"]).is_err());
        assert!(preset(&["x", "--finished", "--fresh"]).is_err());
    }
}
