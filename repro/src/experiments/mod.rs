//! The experiments, section by section: what is run, what is made of it, what is claimed.

pub mod comparison;
pub mod dnc;
pub mod images;
pub mod lines;
pub mod regression;
pub mod section3_1;
pub mod section3_2;
pub mod section3_3;
pub mod section3_4;
pub mod section3_5;
pub mod section3_6;
pub mod window;
