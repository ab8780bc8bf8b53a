//! The tutorial runs: each example checks the results that it prints.
#![allow(missing_docs)]

#[path = "../../examples/07_forward_mode.rs"]
mod forward_mode;
#[path = "../../examples/05_gradients_in_memory.rs"]
mod gradients_in_memory;
#[path = "../../examples/06_matrix_product.rs"]
mod matrix_product;
#[path = "../../examples/04_own_operation.rs"]
mod own_operation;
#[path = "../../examples/01_scalar_engine.rs"]
mod scalar_engine;
#[path = "../../examples/02_tensors.rs"]
mod tensors;
#[path = "../../examples/03_the_tape.rs"]
mod the_tape;

#[test]
fn scalar_engine_runs() {
    scalar_engine::main();
}

#[test]
fn tensors_runs() {
    tensors::main().unwrap();
}

#[test]
fn the_tape_runs() {
    the_tape::main().unwrap();
}

#[test]
fn own_operation_runs() {
    own_operation::main().unwrap();
}

#[test]
fn gradients_in_memory_runs() {
    gradients_in_memory::main().unwrap();
}

#[test]
fn matrix_product_runs() {
    matrix_product::main();
}

#[test]
fn forward_mode_runs() {
    forward_mode::main().unwrap();
}
