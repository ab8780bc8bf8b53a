//! Generated blocks in a Markdown file, so that no number in it is typed by hand.
//!
//! ```markdown
//! <!-- generated: section3_1/table2 -->
//! whatever stands here is replaced
//! <!-- /generated -->
//! ```
//!
//! A marker stands alone on its line; one inside a fenced code block is an example and is left alone.

/// A marker or other markup that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its line, counted from 1.
    pub line: usize,
    /// What is wrong, what was expected.
    pub problem: String,
}

enum Line<'a> {
    Open(&'a str),
    Close,
    Other,
}

/// `text` with every generated block's content replaced by what `content` gives for its key.
///
/// Line ends stay as they are, and replacing twice is replacing once.
///
/// # Errors
///
/// The first block that is not closed, is closed but not opened, or for whose key `content` has no answer.
pub fn replaced(
    text: &str,
    mut content: impl FnMut(&str) -> Result<String, String>,
) -> Result<String, Problem> {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut out = String::with_capacity(text.len());
    let mut open: Option<usize> = None;
    let mut fenced: Option<Fence> = None;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let problem = |problem: String| Problem {
            line: i + 1,
            problem,
        };
        if open.is_none() {
            fenced = match (fenced, Fence::of(line)) {
                (Some(begun), Some(fence)) if fence.closes(begun) => None,
                (None, fence) => fence,
                (begun, _) => begun,
            };
        }
        let kind = match fenced {
            Some(_) => Line::Other,
            None => classified(line),
        };
        match (kind, open) {
            (Line::Open(key), None) => {
                let generated = content(key).map_err(problem)?;
                let generated = generated.trim().replace('\n', newline);
                out.push_str(line.trim_end_matches(['\r', '\n']));
                out.push_str(&format!("{newline}{newline}{generated}{newline}{newline}"));
                open = Some(i + 1);
            }
            (Line::Close, Some(_)) => {
                out.push_str(line);
                open = None;
            }
            (Line::Open(_), Some(line)) => {
                return Err(problem(format!(
                    "expected `<!-- /generated -->` for the block of line {line} first"
                )));
            }
            (Line::Close, None) => {
                return Err(problem(
                    "closes a generated block, but none is open".to_owned(),
                ));
            }
            (Line::Other, Some(_)) => {}
            (Line::Other, None) => out.push_str(line),
        }
    }
    match open {
        Some(line) => Err(Problem {
            line,
            problem: "expected `<!-- /generated -->` after it, found none".to_owned(),
        }),
        None => Ok(out),
    }
}

fn classified(line: &str) -> Line<'_> {
    let comment = line
        .trim()
        .strip_prefix("<!--")
        .and_then(|rest| rest.strip_suffix("-->"))
        .map(str::trim);
    match comment {
        Some("/generated") => Line::Close,
        Some(comment) => comment
            .strip_prefix("generated:")
            .map_or(Line::Other, |key| Line::Open(key.trim())),
        None => Line::Other,
    }
}

/// What begins or ends a block of code, by the rules of CommonMark.
#[derive(Clone, Copy)]
struct Fence {
    character: char,
    length: usize,
    is_bare: bool,
}

impl Fence {
    fn of(line: &str) -> Option<Self> {
        let line = line.trim();
        let character = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let info = line.trim_start_matches(character);
        let length = line.len() - info.len();
        // Code in a line of text may be between three backticks as well.
        let is_fence = length >= 3 && !(character == '`' && info.contains('`'));
        is_fence.then_some(Self {
            character,
            length,
            is_bare: info.is_empty(),
        })
    }

    fn closes(self, begun: Self) -> bool {
        self.is_bare && self.character == begun.character && self.length >= begun.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(key: &str) -> Result<String, String> {
        match key {
            "a/b" => Ok("one\ntwo\n".to_owned()),
            other => Err(format!("no {other}")),
        }
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "before\n<!-- generated: a/b -->\nold\n<!-- /generated -->\nafter";
        let expected = "before\n<!-- generated: a/b -->\n\none\ntwo\n\n<!-- /generated -->\nafter";
        assert_eq!(replaced(text, content).as_deref(), Ok(expected));
    }

    #[test]
    fn replacing_twice_is_replacing_once() {
        for text in [
            "<!-- generated: a/b -->\n<!-- /generated -->\n",
            "x\r\n<!--generated:a/b-->\r\nold\r\n<!--/generated-->\r\ny\r\n",
            "<!-- generated: a/b -->\n1\n<!-- /generated -->\n\n<!-- generated: a/b -->\n2\n<!-- /generated -->",
        ] {
            let once = replaced(text, content).expect("well-formed");
            assert_eq!(replaced(&once, content).as_ref(), Ok(&once));
        }
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        let out = replaced(
            "<!-- generated: a/b -->\r\n<!-- /generated -->\r\n",
            content,
        )
        .expect("well-formed");
        assert_eq!(
            out,
            "<!-- generated: a/b -->\r\n\r\none\r\ntwo\r\n\r\n<!-- /generated -->\r\n"
        );
    }

    #[test]
    fn examples_and_mentions_are_left_alone() {
        for text in [
            "```\n<!-- generated: no/such -->\n```\n",
            "Write `<!-- generated: no/such -->` to get a table.\n",
            "~~~ md\n```\n<!-- generated: no/such -->\n~~~\n",
            "````\n```\n<!-- generated: no/such -->\n```\n```` x\n<!-- /generated -->\n````\n",
            "<!-- a comment -->\n",
            "",
        ] {
            assert_eq!(replaced(text, content).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_only_looks_like_a_fence_hides_no_marker() {
        let block = "<!-- generated: a/b -->\nold\n<!-- /generated -->\n";
        for before in [
            "```x``` stands in the line.\n",
            "``\n",
            "```\n~~~\n```\n",
            "```` rust\n```\n`````\n",
            "~~~ `x`\n~~~\n",
        ] {
            let replaced = replaced(&format!("{before}{block}"), content).expect("well-formed");
            assert!(replaced.contains("one\ntwo"), "{before}");
        }
    }

    #[test]
    fn broken_markers_are_named_by_line() {
        for (text, line, problem) in [
            ("\n<!-- generated: a/b -->\n", 2, "found none"),
            ("<!-- generated: x -->\n<!-- /generated -->\n", 1, "no x"),
            ("<!-- /generated -->\n", 1, "none is open"),
            (
                "<!-- generated: a/b -->\n<!-- generated: a/b -->\n",
                2,
                "block of line 1",
            ),
        ] {
            let found = replaced(text, content).expect_err(text);
            assert_eq!(found.line, line, "{text}");
            assert!(found.problem.contains(problem), "{}", found.problem);
        }
    }
}
