//! Tape-based reverse-mode automatic differentiation on dense tensors.
