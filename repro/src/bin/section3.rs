//! Section 3 of the paper, before its subsections: Table 1, Figure 1, the running time.

use std::process::ExitCode;

fn main() -> ExitCode {
    repro::sections::section3::main()
}
