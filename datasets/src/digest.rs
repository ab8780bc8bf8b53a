//! SHA-256 as a value: computed, compared, printed as lower-case hexadecimal.

use std::fmt;
use std::io::{self, Read};

use sha2::Digest;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(sha2::Sha256::digest(content).into())
    }

    /// The digest of all that `reader` yields.
    ///
    /// # Errors
    /// Those of `reader`.
    pub fn of_reader(mut reader: impl Read) -> io::Result<Self> {
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(Self(hasher.finalize().into())),
                n => hasher.update(&buffer[..n]),
            }
        }
    }

    /// The digest written as 64 hexadecimal digits, as a constant: a mistyped one does not compile.
    pub(crate) const fn from_hex(hex: &str) -> Self {
        let hex = hex.as_bytes();
        assert!(hex.len() == 64, "a SHA-256 has 64 hexadecimal digits");
        let mut digest = [0; 32];
        let mut i = 0;
        while i < 32 {
            digest[i] = nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]);
            i += 1;
        }
        Self(digest)
    }
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => panic!("a SHA-256 is written with the digits 0-9 and a-f"),
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of FIPS 180-2, appendix B.1.
    #[test]
    fn the_standard_s_example() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc").to_string(), expected);
        assert_eq!(
            Sha256::of_reader(&b"abc"[..]).unwrap(),
            Sha256::from_hex(expected)
        );
    }
}
