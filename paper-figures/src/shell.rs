//! Command lines in messages, to be pasted back.

use std::ffi::OsStr;

/// A word as a shell reads it.
#[must_use]
pub fn quoted(word: &OsStr) -> String {
    let Some(word) = word.to_str() else {
        return quoted_bytes(word.as_encoded_bytes());
    };
    let plain = |c: char| c.is_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Bytes that are no text, as Bash, ksh and zsh read them.
fn quoted_bytes(bytes: &[u8]) -> String {
    let quoted: String = bytes
        .iter()
        .map(|&byte| match byte {
            b'\'' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\{byte:03o}"),
        })
        .collect();
    format!("$'{quoted}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_back() {
        let quoted = |word: &str| quoted(OsStr::new(word));
        for word in ["--out", "a/b=c", "L4Adam,mSGD"] {
            assert_eq!(quoted(word), word);
        }
        assert_eq!(quoted("L4Adam*"), "'L4Adam*'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted_bytes(b"a \xff1'"), r"$'a \3771\''");
    }
}
