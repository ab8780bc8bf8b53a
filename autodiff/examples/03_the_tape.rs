//! What was recorded: the tape of the front page's example, drawn with the values of a
//! forward pass and the gradients of the backward pass.
//!
//! ```text
//! cargo run -p autodiff --example 03_the_tape                > tape.dot
//! cargo run -p autodiff --example 03_the_tape -- --svg       > tape.svg
//! ```
//!
//! Follow the values from left to right, then the gradients from right to left: each is
//! that of the box to its right times the derivative of the operation written there. Parameters
//! show none: theirs are in the flat vector.

use autodiff::{Error, Params, record};

/// Prints the drawing.
pub fn main() -> Result<(), Error> {
    let ln3 = 3f64.ln();
    let mut params = Params::new();
    let w = params.add("w", [], || ln3)?;
    let b = params.add("b", [], || -ln3)?;
    let (mut tape, [x, _]) = record(|g| {
        let (x, t) = (g.input([]), g.constant([], &[1.0]));
        let y = (g.param(w) * x + g.param(b)).tanh();
        Ok([x, (y - t).square()])
    })?;
    tape.set(x, &[2.0])?;
    let mut pass = tape.forward(&params)?;
    pass.backward(&mut params.zeros_like())?;

    let drawing = pass.draw();
    if std::env::args().any(|argument| argument == "--svg") {
        print!("{}", drawing.svg());
    } else {
        print!("{}", drawing.dot());
    }
    // The numbers of the table on the front page.
    let dot = drawing.dot();
    for line in ["value = 0.8000", "gradient = -0.4000", "gradient = -0.1440"] {
        assert!(dot.contains(line), "{line}");
    }
    Ok(())
}
