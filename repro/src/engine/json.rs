//! JSON as the project's files have it: no value that is not a number where a number is due, and lists of numbers on a line.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The SHA-256 of a value's JSON without white space, by which a changed digit is found.
pub(crate) fn digest(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(hex(&Sha256::digest(serde_json::to_vec(value)?)))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON pointer to the first null, which is what serde_json makes of a NaN or an infinity. The nulls that a table's
/// [`Cell`](crate::results::Cell) documents do not count.
pub(crate) fn find_null(object: &Map<String, Value>) -> Option<String> {
    let n = object.get("n").and_then(Value::as_u64);
    let documented = |key: &str, value: &Value| match key {
        "mean" => value.is_null() && n == Some(0),
        "std" => value.is_null() && n < Some(2) && n.is_some(),
        _ => false,
    };
    let mut suspects = object.iter().filter(|(key, value)| !documented(key, value));
    suspects.find_map(|(key, value)| null_in(value).map(|rest| format!("/{key}{rest}")))
}

fn null_in(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Object(object) => find_null(object),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| null_in(item).map(|rest| format!("/{index}{rest}"))),
        _ => None,
    }
}

/// Longest line for a small object or list.
const WIDTH: usize = 100;

/// Indented JSON in which a list of plain values, or whatever is short, takes one line.
pub(crate) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text.push('\n');
    text
}

fn write(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Array(items) if items.iter().any(|item| item.is_array() || item.is_object()) => {
            block(text, depth, ['[', ']'], items, |item, text| {
                write(item, depth + 1, text)
            });
        }
        Value::Object(object) if value.to_string().len() > WIDTH => {
            block(text, depth, ['{', '}'], object, |(key, value), text| {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push_str(": ");
                write(value, depth + 1, text);
            });
        }
        _ => text.push_str(&value.to_string()),
    }
}

fn block<T>(
    text: &mut String,
    depth: usize,
    [open, close]: [char; 2],
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut String),
) {
    text.push(open);
    let mut separator = "";
    for item in items {
        text.push_str(separator);
        text.push('\n');
        text.push_str(&"  ".repeat(depth + 1));
        write(item, text);
        separator = ",";
    }
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    text.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn null(value: Value) -> Option<String> {
        find_null(value.as_object().unwrap())
    }

    #[test]
    fn a_null_is_found_wherever_it_is() {
        assert_eq!(null(json!({"a": 1, "b": [{"c": "x"}]})), None);
        assert_eq!(
            null(json!({"a": 1, "b": [0, {"c": f64::NAN}]})),
            Some("/b/1/c".to_owned())
        );
    }

    #[test]
    fn only_a_cell_without_enough_values_may_lack_its_mean_or_spread() {
        assert_eq!(null(json!({"mean": null, "std": null, "n": 0})), None);
        assert_eq!(null(json!({"mean": 1.0, "std": null, "n": 1})), None);
        assert_eq!(
            null(json!({"mean": 1.0, "std": null, "n": 2})),
            Some("/std".to_owned())
        );
        assert_eq!(
            null(json!({"mean": null, "std": null, "n": 1})),
            Some("/mean".to_owned())
        );
        assert_eq!(null(json!({"mean": null})), Some("/mean".to_owned()));
    }

    #[test]
    fn lists_of_numbers_and_small_objects_take_a_line() {
        let numbers: Vec<f64> = (0..200).map(f64::from).collect();
        let value = json!({
            "id": "figure2", "x": numbers, "cell": {"mean": 0.1, "n": 2}, "empty": [],
            "list": [{"a": 1}, {"b": 2}],
        });
        let text = pretty(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "  \"id\": \"figure2\",");
        assert!(
            lines[2].starts_with("  \"x\": [0.0,1.0,") && lines[2].ends_with("199.0],"),
            "{}",
            lines[2]
        );
        assert_eq!(lines[3], "  \"cell\": {\"mean\":0.1,\"n\":2},");
        assert_eq!(
            lines[5..],
            [
                "  \"list\": [",
                "    {\"a\":1},",
                "    {\"b\":2}",
                "  ]",
                "}"
            ]
        );
    }
}
