//! The image data of a section: where the command line says it is, and what the results say of it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use datasets::fetch::{DATA_DIR_VARIABLE, DataError, Options, Unverified};
use datasets::images::Trust;
use datasets::{Dataset, ImageDataset, synthetic};
use serde_json::{Value, json};

use crate::cli::Preset;
use crate::engine::provenance::{DataFile, DataSet};

/// The options of a section that trains on images.
#[derive(Args, Clone, Debug, Default)]
pub struct DataOptions {
    /// Directory to look in for the data set first; otherwise it is looked for on this machine, and fetched
    // Unlike clap's own parser of paths, this one lets an empty variable pass, which names none.
    #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    data: Option<PathBuf>,

    /// Use files of that directory that are not the published ones; every result then says so
    #[arg(long)]
    allow_unverified: bool,

    /// What results are to call such data [default: the data set's name and "(unverified)"]
    #[arg(long, value_name = "NAME", requires = "allow_unverified")]
    data_name: Option<String>,

    /// A sentence on such data for the deviations in every result: how they differ from the published ones
    #[arg(long, value_name = "TEXT", requires = "allow_unverified")]
    data_note: Option<String>,
}

impl DataOptions {
    /// What is to be said of data that are not the published ones.
    #[must_use]
    pub fn deviation(&self, data: &ImageDataset) -> Option<String> {
        let dataset = data.dataset;
        match data.provenance.trust() {
            Trust::Verified => None,
            Trust::Unverified => Some(format!(
                "The data, {}, are not the published {dataset}: the SHA-256 differs. {}",
                data.name(),
                self.data_note.as_deref().unwrap_or(
                    "How they differ is not known to the program (--data-note was not given)."
                )
            )),
            Trust::Synthetic => Some(format!(
                "The data are a synthetic stand-in for {dataset} of {} training and {} test images: no number here says \
                 anything about the paper.",
                data.train.len(),
                data.test.len()
            )),
        }
    }
}

/// What the data are instead of the published ones, in a few words for the basis of a verdict.
#[must_use]
pub fn other_data(data: &ImageDataset) -> Option<String> {
    match data.provenance.trust() {
        Trust::Verified => None,
        Trust::Unverified => Some(data.name().to_owned()),
        Trust::Synthetic => Some("a synthetic stand-in".to_owned()),
    }
}

/// Training and test examples of a stand-in: for the perceptron as many as make a tenth of an epoch a few steps, for the
/// dearer networks a few batches.
fn stand_in_size(dataset: Dataset) -> [usize; 2] {
    match dataset {
        Dataset::Mnist => [3840, 1000],
        Dataset::FashionMnist => [600, 200],
        Dataset::Cifar10 => [512, 100],
    }
}

/// The data set, found or fetched and verified; for [`Preset::Smoke`] a synthetic stand-in.
///
/// Progress is told on standard error. Call it before the [`Runner`](crate::engine::runner::Runner) computes anything and so
/// takes over Ctrl-C: then a slow download can be stopped.
///
/// # Errors
/// If it is found nowhere, or is not what it should be.
pub fn load(
    dataset: Dataset,
    preset: Preset,
    options: &DataOptions,
) -> Result<ImageDataset, DataError> {
    if preset == Preset::Smoke {
        let [train, test] = stand_in_size(dataset);
        return Ok(synthetic::stand_in(dataset, train, test, [0; 32]));
    }
    let unverified = match options.allow_unverified {
        true => Unverified::Accept {
            name: options.data_name.clone(),
        },
        false => Unverified::Refuse,
    };
    let options = Options {
        data_dir: options.data.clone(),
        unverified,
        ..Options::default()
    };
    datasets::progress::load(dataset, &options)
}

/// For the identity of a run: other bytes make another run.
#[must_use]
pub fn identity(data: &ImageDataset) -> Value {
    json!({"name": data.name(), "sha256": data.provenance.sha256().to_string()})
}

/// For the provenance of results.
#[must_use]
pub fn provenance(data: &ImageDataset) -> DataSet {
    if is_synthetic(data) {
        return DataSet::generated(data.name());
    }
    let files = data.provenance.files.iter().map(|file| DataFile {
        name: file.name.clone(),
        sha256: file.sha256.to_string(),
        verified: file.trust == Trust::Verified,
    });
    DataSet {
        name: data.name().to_owned(),
        files: files.collect(),
    }
}

/// Whether nothing that is measured on the data says anything about the paper.
#[must_use]
pub fn is_synthetic(data: &ImageDataset) -> bool {
    data.provenance.trust() == Trust::Synthetic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smoke_run_says_that_its_data_are_synthetic() {
        let options = DataOptions::default();
        let data = load(Dataset::Mnist, Preset::Smoke, &options).unwrap();
        assert!(is_synthetic(&data));
        assert_eq!(
            provenance(&data),
            DataSet::generated("synthetic MNIST"),
            "no files are named"
        );
        let deviation = options.deviation(&data).unwrap();
        assert!(deviation.contains("synthetic stand-in"), "{deviation}");
        assert_eq!(identity(&data)["name"], "synthetic MNIST");
    }

    #[test]
    fn a_directory_without_the_data_is_an_error_that_names_it() {
        let options = DataOptions {
            data: Some("/nowhere".into()),
            ..DataOptions::default()
        };
        let error = load(Dataset::Mnist, Preset::Quick, &options).unwrap_err();
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }
}
