//! The README's code for other frameworks is that of the examples, which are built and run.

const README: &str = include_str!("../../README.md");

/// The lines of the code blocks under a heading.
fn code_under(heading: &str) -> Vec<&'static str> {
    let start = README
        .find(heading)
        .unwrap_or_else(|| panic!("no {heading}"));
    let section = &README[start + heading.len()..];
    let section = &section[..section.find("\n#").unwrap_or(section.len())];
    let blocks = section.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().skip(1));
    lines.filter(|line| !line.is_empty()).collect()
}

fn is_in(heading: &str, example: &str) {
    let code = code_under(heading);
    assert!(code.len() > 3, "{heading}: {code:?}");
    let mut rest = example.lines().map(str::trim);
    for line in code {
        assert!(
            rest.any(|found| found == line),
            "{heading}: `{line}`, in this order"
        );
    }
}

#[test]
fn code_for_candle_is_that_of_its_example() {
    is_in(
        "### candle\n",
        include_str!("../../examples/candle/mnist.rs"),
    );
}

#[test]
fn code_for_pytorch_is_that_of_its_example() {
    is_in(
        "### PyTorch\n",
        include_str!("../../python/examples/mnist.py"),
    );
}

#[test]
fn code_for_burn_is_that_of_its_example() {
    is_in("### burn\n", include_str!("../../examples/burn/mnist.rs"));
}
