//! The experiments of the L4 paper.
