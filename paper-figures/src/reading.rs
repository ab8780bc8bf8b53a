//! What a person makes of a section's results: `reading.md` beside them, written by hand, whose numbers are references.
//!
//! It has paragraphs with an empty line between them, bullets (`- `), `[links](target)` and `**strong**` text, and nothing
//! else; a star alone, as in L4Adam*, is a star. A link leads from the folder that the file lies in. No measured number is
//! typed into it:
//!
//! | reference | becomes |
//! |---|---|
//! | `{C3}`, `{C11 MNIST}` | the verdict on the claim; its task is named where the section has several of that number |
//! | `{C3=partly}` | the same, and an error where it is another: what is said around it rests on it |
//! | `{C3:L4Adam}` | what stands under that key of the claim's `measured`: a number, `3.660 (1.960 to 6.800)`, `5, 5 and 2` |
//! | `{C3:L4Adam#2}` | of several numbers, the second |
//! | `{table2[weights=96][method=LMA*].time}` | what the table shows under the column `time` in the only row that shows this under these columns |

use serde_json::Value;

use crate::{
    document::{Block, Grid, Line, Span, text},
    files::Loaded,
    number,
    readme::Problem,
    results::{Finding, Parsed},
};

/// The name of the file.
pub const FILE: &str = "reading.md";

/// How a line begins that means something else in Markdown.
const OTHER_MARKUP: [&str; 6] = ["#", ">", "|", "+ ", "* ", "-"];

/// The paragraphs and lists of a reading of `results`, each reference replaced by what it names.
///
/// # Errors
///
/// The first reference that names nothing, or more than one thing; the first markup that is not closed, or is none of the
/// above.
pub fn blocks(reading: &str, results: &[Loaded]) -> Result<Vec<Block>, Problem> {
    let mut blocks = Vec::new();
    for paragraph in paragraphs(reading)? {
        let text = paragraph.text.as_str();
        let mut rest = Rest {
            paragraph: &paragraph,
            text,
            results,
        };
        let line = rest.spans()?;
        match (paragraph.is_item, blocks.last_mut()) {
            (true, Some(Block::List(items))) => items.push(line),
            (true, _) => blocks.push(Block::List(vec![line])),
            (false, _) => blocks.push(Block::Text(line)),
        }
    }
    Ok(blocks)
}

/// A paragraph or a bullet, of one line of the file or several.
struct Paragraph {
    first_line: usize,
    is_item: bool,
    text: String,
}

fn paragraphs(reading: &str) -> Result<Vec<Paragraph>, Problem> {
    let mut all: Vec<Paragraph> = Vec::new();
    let mut is_open = false;
    for (i, line) in reading.lines().enumerate() {
        let line = line.trim();
        let item = line.strip_prefix("- ");
        if item.is_none() && OTHER_MARKUP.iter().any(|start| line.starts_with(start)) {
            let problem = format!("expected paragraphs and bullets (`- `) only, found `{line}`");
            return Err(Problem {
                line: i + 1,
                problem,
            });
        }
        match (item, all.last_mut()) {
            _ if line.is_empty() => is_open = false,
            (None, Some(last)) if is_open => last.text += &format!("\n{line}"),
            _ => {
                all.push(Paragraph {
                    first_line: i + 1,
                    is_item: item.is_some(),
                    text: item.unwrap_or(line).to_owned(),
                });
                is_open = true;
            }
        }
    }
    Ok(all)
}

/// What is still to be read of a paragraph.
struct Rest<'a> {
    paragraph: &'a Paragraph,
    text: &'a str,
    results: &'a [Loaded],
}

impl<'a> Rest<'a> {
    fn spans(&mut self) -> Result<Line, Problem> {
        let mut spans = Vec::new();
        while let Some(c) = self.text.chars().next() {
            let from = self.text;
            spans.push(if from.starts_with("**") {
                Span::Strong(self.enclosed("**", "**")?)
            } else if c == '[' {
                let text = self.enclosed("[", "](")?;
                let target = self.up_to(')', from)?.to_owned();
                if target.is_empty() || target.contains(char::is_whitespace) {
                    let problem = format!("expected a target without spaces, found `{target}`");
                    return Err(self.problem(from, problem));
                }
                Span::Link { text, target }
            } else {
                Span::Text(self.words()?)
            });
            if self.text.len() == from.len() {
                let problem = format!("expected text, a link, `**` or a reference, found `{c}`");
                return Err(self.problem(from, problem));
            }
        }
        Ok(spans)
    }

    fn enclosed(&mut self, begin: &str, end: &str) -> Result<String, Problem> {
        let from = self.text;
        self.text = &from[begin.len()..];
        let words = self.words()?;
        match self.text.strip_prefix(end) {
            Some(after) if !words.is_empty() => {
                self.text = after;
                Ok(words)
            }
            _ => Err(self.problem(from, format!("expected text and `{end}` after `{begin}`"))),
        }
    }

    /// Text, its references replaced, up to the next mark.
    fn words(&mut self) -> Result<String, Problem> {
        let mut words = String::new();
        while let Some(c) = self.text.chars().next() {
            let from = self.text;
            match c {
                '{' => {
                    let name = self.up_to('}', from)?[1..].replace('\n', " ");
                    let found = reference(&name, self.results);
                    words += &found.map_err(|problem| {
                        self.problem(from, format!("`{{{name}}}`: {problem}"))
                    })?;
                    continue;
                }
                '}' | '[' | ']' | '`' | '\\' => break,
                // `**L4Adam***` ends in the star of the name.
                '*' if from.starts_with("**") && !from.starts_with("***") => break,
                '\n' => words.push(' '),
                c => words.push(c),
            }
            self.text = &from[c.len_utf8()..];
        }
        Ok(words)
    }

    /// What comes before the next `end`.
    fn up_to(&mut self, end: char, from: &str) -> Result<&'a str, Problem> {
        let found = self.text.split_once(end);
        let (before, after) =
            found.ok_or_else(|| self.problem(from, format!("expected `{end}`, found none")))?;
        self.text = after;
        Ok(before)
    }

    /// What is wrong from `from` on, which is an end of the paragraph.
    fn problem(&self, from: &str, problem: String) -> Problem {
        let text = &self.paragraph.text;
        let before = &text[..text.len() - from.len()];
        let line = self.paragraph.first_line + before.matches('\n').count();
        Problem { line, problem }
    }
}

/// What the reference `name` becomes.
fn reference(name: &str, results: &[Loaded]) -> Result<String, String> {
    if let Some((table, rest)) = name.split_once('[') {
        return cell(table, rest, results);
    }
    let (of, key) = match name.split_once(':') {
        Some((of, key)) => (of, Some(key)),
        None => (name, None),
    };
    let (of, expected) = match (key, of.split_once('=')) {
        (None, Some((of, verdict))) => (of, Some(verdict)),
        _ => (of, None),
    };
    let claims = results.iter().flat_map(|loaded| match &loaded.file {
        Parsed::Claims(claims) => claims.claims.as_slice(),
        _ => &[],
    });
    let full = |claim: &Finding| match &claim.task {
        Some(task) => format!("{} {task}", claim.id),
        None => claim.id.clone(),
    };
    let is_named = |claim: &&Finding| claim.id == of || full(claim) == of;
    let named: Vec<&Finding> = claims.clone().filter(is_named).collect();
    let claim = match named[..] {
        [one] => Some(one),
        _ => None,
    };
    let claim = one_of(claim, "claims", claims.map(full), of)?;
    let verdict = claim.verdict.name();
    match (key, expected) {
        (Some(key), _) => measured(claim, key),
        (None, Some(expected)) if expected != verdict => {
            Err(format!("the verdict is {verdict}: read the results anew"))
        }
        (None, _) => Ok(verdict.to_owned()),
    }
}

/// What was found under a name, or else what could have been.
fn one_of<T, S: Into<String>>(
    found: Option<T>,
    what: &str,
    known: impl Iterator<Item = S>,
    name: &str,
) -> Result<T, String> {
    found.ok_or_else(|| {
        let known: Vec<String> = known.map(Into::into).collect();
        format!(
            "expected one of the {what} ({}), found `{name}`",
            known.join(", ")
        )
    })
}

fn measured(claim: &Finding, key: &str) -> Result<String, String> {
    let by_place = |(key, n): (&str, &str)| {
        let place = n.parse::<usize>().ok()?.checked_sub(1)?;
        claim.measured.get(key)?.as_array()?.get(place)
    };
    let own = claim.measured.get(key);
    let found = own.or_else(|| key.rsplit_once('#').and_then(by_place));
    let value = one_of(found, "measured", claim.measured.keys(), key)?;
    shown(value).ok_or_else(|| format!("expected a number, numbers or an estimate, found {value}"))
}

/// A number of the evidence, several, or an estimate with its interval.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Number(n) => n.as_f64().map(number::measured),
        // `infinite`, which JSON has no number for.
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(shown).collect();
            match items?.as_slice() {
                [] => None,
                [one] => Some(one.clone()),
                [first @ .., last] => Some(format!("{} and {last}", first.join(", "))),
            }
        }
        Value::Object(fields) => {
            let mean = shown(fields.get("mean")?)?;
            let Some(interval) = fields.get("interval") else {
                return Some(mean);
            };
            match interval.as_array()?.as_slice() {
                [low, high] => Some(format!("{mean} ({} to {})", shown(low)?, shown(high)?)),
                _ => None,
            }
        }
        Value::Null | Value::Bool(_) => None,
    }
}

/// The cell that `rest` selects, as `weights=96][method=LMA*].time`.
fn cell<'a>(name: &str, rest: &'a str, results: &[Loaded]) -> Result<String, String> {
    let tables = results.iter().filter_map(|loaded| match &loaded.file {
        Parsed::Table(table) => Some((loaded.stem.as_str(), table)),
        _ => None,
    });
    let found = tables.clone().find(|(stem, _)| *stem == name);
    let (_, table) = one_of(found, "tables", tables.map(|(stem, _)| stem), name)?;
    let keys = || table.columns.iter().map(|column| &column.key);
    let place = |key: &str| {
        one_of(
            keys().position(|known| known == key),
            "columns",
            keys(),
            key,
        )
    };
    let form = || format!("expected `{name}[column=what it shows].column`");
    let (selectors, wanted) = rest.rsplit_once("].").ok_or_else(form)?;
    let wanted = place(wanted)?;
    let column = |selector: &'a str| {
        let (key, _) = selector.split_once('=').ok_or_else(form)?;
        Ok((key, place(key)?))
    };
    let columns: Vec<(&str, usize)> = selectors
        .split("][")
        .map(column)
        .collect::<Result<_, String>>()?;
    let rows = Grid::of(table).rows;
    let address = |row: &Vec<Line>| -> String {
        let columns = columns.iter();
        columns
            .map(|(key, i)| format!("[{key}={}]", text(&row[*i])))
            .collect()
    };
    let asked = format!("[{selectors}]");
    let matching: Vec<&Vec<Line>> = rows.iter().filter(|row| address(row) == asked).collect();
    let row = match matching[..] {
        [one] => Some(one),
        _ => None,
    };
    let row = one_of(row, "rows, each once", rows.iter().map(address), &asked)?;
    Ok(text(&row[wanted]))
}
