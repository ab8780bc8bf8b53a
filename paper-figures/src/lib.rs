//! Draws the tables and figures of the L4 paper from the JSON that `repro` writes.
//!
//! ```text
//! cargo run -p paper-figures                                 # draw repro/out, or repro/reference
//! cargo run -p paper-figures -- DIR/section3_1/figure2.json  # draw one file
//! cargo run -p paper-figures -- --readme README.md           # and bring the README's generated blocks up to date
//! cargo run -p paper-figures -- --readme README.md --check   # fail if they are not
//! ```
//!
//! This crate knows the JSON files and nothing of training: whoever distrusts the drawing can check it, or replace it,
//! without the rest of the workspace.
//!
//! # The contract
//!
//! A result directory holds `section3_1/figure2.json`, `section3_1/claims.json` and so on; `repro/schema/` has the JSON
//! Schema. Every file has the fields of [`results::Header`]. The kind is told by the field that only it has:
//!
//! | field | kind | read as | drawn as |
//! |---|---|---|---|
//! | `series` | figure | [`results::Figure`] | `figure2.svg`, `figure2.png` |
//! | `rows` | table | [`results::Table`] | `table2.md` |
//! | `claims` | claims | [`results::Claim`]s | `claims.md` |
//!
//! Unknown fields are ignored. A file that breaks the contract is an [`Error`] that names the file, the place in it, the
//! expected and the found; the other files are still drawn. Each output is written whole or not at all.
//!
//! # What the pictures say
//!
//! - A line is the mean over runs, the translucent band what the caption says. Each method has its colour and dashes in
//!   every figure.
//! - A log axis has no zero. A loss of exactly 0 is drawn on a floor below the smallest positive value, labelled `0`,
//!   with an arrowhead where it first gets there and "reaches 0" in the legend. An abscissa of 0 on a log axis is
//!   likewise drawn at the axis' labelled left end.
//! - Nothing is left out in silence: gaps stay gaps, diverged runs are counted in the legend, and cells say how many runs
//!   diverged or did not get there.
//!
//! # To add a figure
//!
//! Write a JSON file named `figure*.json` in the shape of [`results::Figure`]: there is no code per figure. To show it in
//! the README, add the two marker lines
//!
//! ```markdown
//! <!-- generated: section3_1/figure2 -->
//! <!-- /generated -->
//! ```
//!
//! and run the third command above. To give a new method a colour of its own, add it to the table in `palette.rs`.

#![forbid(unsafe_code)]

mod canvas;
mod caption;
mod curve;
mod dash;
mod draw;
mod error;
mod files;
mod markdown;
mod number;
mod palette;
pub mod picture;
mod readme;
mod report;
pub mod results;
mod scale;

pub use error::Error;
pub use report::Report;

/// Whether `path` holds result files, itself or in its `section*` folders.
pub fn has_results(path: &std::path::Path) -> bool {
    files::results_in(path).is_ok()
}
