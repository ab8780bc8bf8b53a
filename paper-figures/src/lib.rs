//! The result files of the L4 reproduction: their [types](results), and the pictures, tables and pages made of them.
//!
//! ```text
//! cargo run -p paper-figures                                 # draw repro/out, or repro/reference
//! cargo run -p paper-figures -- DIR/section3_1/figure2.json  # draw one file
//! cargo run -p paper-figures -- --report DIR                 # one page of all sections in DIR, the matrix of claims first
//! cargo run -p paper-figures -- --readme README.md           # bring the pages of repro/reference and the README up to date
//! cargo run -p paper-figures -- --readme README.md --check   # fail if they are not
//! cargo run -p paper-figures -- --schema                     # the JSON Schema of the files
//! ```
//!
//! This crate knows the JSON files and nothing of training: whoever distrusts the drawing can check it, or replace it,
//! without the rest of the workspace.
//!
//! # The files
//!
//! A directory holds the results of a section: `section3_1/figure2.json`, `section3_1/claims.json` and so on. Every file has
//! the fields of [`results::Header`]. The kind is told by the field that only it has:
//!
//! | field | kind | read as | becomes |
//! |---|---|---|---|
//! | `series` | figure | [`results::Figure`] | `figure2.svg` |
//! | `rows` | table | [`results::Table`] | `table2.md` |
//! | `claims` | claims | [`results::Claims`] | a part of the page |
//!
//! A fourth file may lie beside them, `reading.md`: what a person makes of the section's results, in paragraphs and bullets
//! with links and strong text. It is written by hand but for its numbers, which are references into the results
//! (`{C3:L4Adam}`, `{table2[method=LMA*].time}`) and so cannot be out of date with them. The page shows it under the heading
//! "Reading", after the tables.
//!
//! Of all together are made `README.md`, the section's page for a reader of the repository, and `report.html`, the same
//! as one page that needs nothing beside it ([`publish`]). A directory of such directories has a `README.md` with the matrix
//! of claims by section, and a `report.html` of all.
//!
//! A file that breaks the contract is an [`Error`] that names the file, the place in it, the expected and the found; the
//! program goes on with the others. Each output is written whole or not at all, and a page, a matrix or a README is left as
//! it is while a file that belongs on it cannot be read.
//!
//! # What the pictures say
//!
//! - A line is the mean over runs, the translucent band what the caption says. Each method has its colour and dashes in
//!   every figure. [`results::Style`] has the other things that can be drawn.
//! - A log axis has no zero. A loss of exactly 0 is drawn on a floor below the smallest positive value, labelled `0`,
//!   with an arrowhead where it first gets there and "reaches 0" in the legend. An abscissa of 0 on a log axis is
//!   likewise drawn at the axis' labelled left end.
//! - Nothing is left out in silence: diverged runs are counted in the legend, a mean that is infinite for them is a ring at
//!   the upper edge, and cells say how many runs diverged or did not get there.
//!
//! # To add a figure
//!
//! Write a JSON file in the shape of [`results::Figure`] into a section's directory: there is no code per figure. To show it
//! in the README, add the two marker lines
//!
//! ```markdown
//! <!-- generated: section3_1/figure2 -->
//! <!-- /generated -->
//! ```
//!
//! and run the fourth command above. To give a new method a colour of its own, add it to the table in `palette.rs`.

#![forbid(unsafe_code)]

mod about;
pub mod atomic;
mod canvas;
mod caption;
mod collection;
mod curve;
mod dash;
mod document;
mod draw;
mod error;
mod escape;
mod files;
mod font;
mod matrix;
pub mod number;
mod palette;
mod reading;
mod readme;
pub mod results;
mod scale;
mod section;
pub mod shell;
mod targets;
pub mod terminal;

use std::path::{Path, PathBuf};

use collection::Collection;
pub use draw::{Pieces, pieces, sheet};
pub use error::Error;
use section::Section;
pub use targets::Targets;

/// Writes all that is made of the results directly in `folder`, beside them: an SVG a figure, a Markdown file a table, the
/// page `README.md` and the page `report.html`. Returns their paths, the last of which is that of `report.html`.
///
/// # Errors
///
/// If a result cannot be read, breaks the contract, or a file cannot be written.
pub fn publish(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let (section, errors) = Section::read(folder);
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    if section.is_empty() {
        return Err(Error::NoResults {
            path: folder.to_owned(),
        });
    }
    let outputs = section.outputs().into_iter();
    outputs.map(|output| output.below(folder).write()).collect()
}

/// Writes `report.html` into `folder`: one page of all sections in it, the matrix of claims first.
///
/// # Errors
///
/// If a result cannot be read, breaks the contract, or the page cannot be written.
pub fn report(folder: &Path) -> Result<PathBuf, Error> {
    let (collection, errors) = Collection::read(folder);
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    if collection.sections.is_empty() {
        return Err(Error::NoResults {
            path: folder.to_owned(),
        });
    }
    collection.report().below(folder).write()
}

/// Whether `path` is a directory that holds result files, itself or in its folders.
#[must_use]
pub fn has_results(path: &Path) -> bool {
    let own = files::results_of(path);
    own.is_ok_and(|own| !own.is_empty()) || !files::sections_of(path).0.is_empty()
}
