//! Today's rate-free methods beside L4, on tasks of the paper.

use std::process::ExitCode;

use repro::sections::rate_free;

fn main() -> ExitCode {
    rate_free::main()
}
