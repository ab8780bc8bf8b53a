//! Results as text for a terminal.

pub use crate::{
    document::terminal::{claims, table},
    matrix::terminal as matrix,
};
