//! The networks of the L4 paper, on autodiff.
