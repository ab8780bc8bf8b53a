//! Text made to stand for itself, whatever characters it has.

/// For XML and HTML, in content and in quoted attributes. Characters that XML cannot hold become spaces.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// For Markdown as GitHub renders it, on one line: `L4Adam*` in two places is no emphasis, and no text can end the table's
/// row or the generated block that it stands in.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '*' | '|' | '`' | '[' | ']' | '~' | '$' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A path as a Markdown or HTML link has it.
pub fn link(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            ' ' => out.push_str("%20"),
            '(' => out.push_str("%28"),
            ')' => out.push_str("%29"),
            '"' => out.push_str("%22"),
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_act_as_markdown() {
        assert_eq!(
            markdown("L4Adam* | `x` <!-- /generated -->\nb"),
            "L4Adam\\* \\| \\`x\\` &lt;!-- /generated --> b"
        );
    }

    #[test]
    fn text_cannot_act_as_xml() {
        assert_eq!(
            xml("<a href=\"x\">&\u{1}"),
            "&lt;a href=&quot;x&quot;&gt;&amp; "
        );
    }
}
