//! Progress of a fetch, for people.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::catalog::Dataset;
use crate::fetch::{self, DataError, Event, Options};
use crate::images::ImageDataset;

/// As [`fetch::load`], telling on standard error what takes time: a line for each source that is tried, and, on a terminal,
/// a bar for what is received.
///
/// # Errors
/// As [`fetch::load`].
pub fn load(dataset: Dataset, options: &Options) -> Result<ImageDataset, DataError> {
    let style =
        ProgressStyle::with_template("{bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {eta}");
    // Hidden, and so silent, where the standard error is no terminal.
    let bar = ProgressBar::no_length().with_style(style.expect("the template is valid"));
    let data = fetch::load(dataset, options, &mut |event| show(&bar, event));
    bar.finish_and_clear();
    data
}

fn show(bar: &ProgressBar, event: Event<'_>) {
    // A standard error that cannot be written is no reason to stop.
    let note = |line: String| bar.suspend(|| drop(writeln!(io::stderr(), "{line}")));
    match event {
        Event::Trying { source } => note(format!("trying {source}")),
        Event::PassedOver { source, reason } => note(format!("passed over {source}: {reason}")),
        Event::Waiting { cache } => {
            let cache = cache.display();
            note(format!("waiting for another process to fill {cache}"));
        }
        Event::Received { bytes, total, .. } => {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(bytes);
        }
    }
}
