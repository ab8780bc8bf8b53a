//! Numbers as a reader of a table, a sentence or an axis wants them: few digits, thousands set apart, powers of ten.

/// Magnitudes from here to [`LARGE`] are written out; others as a power of ten.
const SMALL: f64 = 1e-3;
/// See [`SMALL`].
const LARGE: f64 = 1e6;
/// A spread this small against its mean is a rounding residue: digits down to it would only be noise.
const RESIDUE: f64 = 1e-6;

/// `10ⁿ`, in superscript characters.
#[must_use]
pub fn power_of_ten(exponent: i32) -> String {
    let digits = exponent
        .to_string()
        .chars()
        .map(superscript)
        .collect::<String>();
    format!("10{digits}")
}

fn superscript(c: char) -> char {
    match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit as u32 - '0' as u32).unwrap_or(digit),
    }
}

/// `v` with so many decimals, thousands set apart by commas.
#[must_use]
pub fn decimal(v: f64, decimals: usize) -> String {
    let text = format!("{v:.decimals$}");
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    let is_zero = digits.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if is_zero { "" } else { sign };
    if fraction.is_empty() {
        format!("{sign}{grouped}")
    } else {
        format!("{sign}{grouped}.{fraction}")
    }
}

/// A number that was chosen rather than measured, in as few digits as give it back exactly.
#[must_use]
pub fn exact(v: f64) -> String {
    if v != 0.0 && !(SMALL / 10.0..LARGE).contains(&v.abs()) {
        let text = format!("{v:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{mantissa}×{}", power_of_ten(exponent.parse().unwrap_or(0)));
    }
    let decimals = v
        .to_string()
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    decimal(v, decimals)
}

/// A measured number with so many significant digits; whole numbers below a million keep all of theirs.
#[must_use]
pub fn significant(v: f64, digits: usize) -> String {
    if v == 0.0 || (v.fract() == 0.0 && v.abs() < LARGE) {
        return decimal(v, 0);
    }
    let exponent = exponent_of(v, digits);
    if !(SMALL..LARGE).contains(&v.abs()) {
        return format!(
            "{}×{}",
            decimal(scaled(v, exponent), digits - 1),
            power_of_ten(exponent)
        );
    }
    decimal(v, (digits as i32 - 1 - exponent).max(0) as usize)
}

/// A measured number as the evidence for a verdict has it: four significant digits.
#[must_use]
pub fn measured(v: f64) -> String {
    significant(v, 4)
}

/// `mean ± std`: two significant digits of the spread, and the mean down to the same place.
#[must_use]
pub fn mean_std(mean: f64, std: Option<f64>) -> String {
    let Some(std) = std else {
        return measured(mean);
    };
    if std == 0.0 {
        return format!("{} ± 0", measured(mean));
    }
    if std <= RESIDUE * mean.abs() {
        return format!("{} ± {}", significant(mean, 6), significant(std, 2));
    }
    let leading = exponent_of(mean.abs().max(std), 2);
    let place = exponent_of(std, 2) - 1;
    if leading >= LARGE.log10() as i32 || leading < SMALL.log10() as i32 {
        let decimals = (leading - place).max(0) as usize;
        let (mean, std) = (scaled(mean, leading), scaled(std, leading));
        return format!(
            "({} ± {})×{}",
            decimal(mean, decimals),
            decimal(std, decimals),
            power_of_ten(leading)
        );
    }
    let decimals = (-place).max(0) as usize;
    format!("{} ± {}", decimal(mean, decimals), decimal(std, decimals))
}

/// A length of time, in the unit that leaves one to three digits before the point.
#[must_use]
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{} s", decimal(s, 1)),
        s if s < 6000.0 => format!("{} min", decimal(s / 60.0, 0)),
        s => format!("{} h", decimal(s / 3600.0, 1)),
    }
}

/// The decimal exponent of `v != 0` after rounding to so many digits: 9.99 rounds up to 1.0·10¹.
fn exponent_of(v: f64, digits: usize) -> i32 {
    let text = format!("{:.*e}", digits.saturating_sub(1), v);
    text.split_once('e')
        .and_then(|(_, e)| e.parse().ok())
        .unwrap_or(0)
}

/// `v · 10^-exponent`, in two steps because 10^-exponent alone overflows for subnormal `v`.
fn scaled(v: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    v / 10f64.powi(half) / 10f64.powi(exponent - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_superscripts() {
        assert_eq!(power_of_ten(-14), "10⁻¹⁴");
        assert_eq!(power_of_ten(0), "10⁰");
        assert_eq!(power_of_ten(23), "10²³");
        assert_eq!(power_of_ten(-5678), "10⁻⁵⁶⁷⁸");
        assert_eq!(power_of_ten(9), "10⁹");
    }

    #[test]
    fn thousands_are_set_apart() {
        for (v, decimals, expected) in [
            (0.0, 0, "0"),
            (999.0, 0, "999"),
            (1000.0, 0, "1,000"),
            (1234567.891, 2, "1,234,567.89"),
            (-12345.0, 0, "-12,345"),
            (-0.001, 2, "0.00"),
        ] {
            assert_eq!(decimal(v, decimals), expected);
        }
    }

    #[test]
    fn durations_have_the_unit_of_their_size() {
        let shown = [0.04, 36.29, 272.9, 5999.0, 12_600.0, 1e6].map(duration);
        assert_eq!(
            shown,
            ["0.0 s", "36.3 s", "5 min", "100 min", "3.5 h", "277.8 h"]
        );
    }

    #[test]
    fn settings_keep_every_digit_they_were_given() {
        for (v, expected) in [
            (0.0, "0"),
            (192.0, "192"),
            (0.15, "0.15"),
            (0.0005, "0.0005"),
            (1e-10, "1×10⁻¹⁰"),
            (-2.5e7, "-2.5×10⁷"),
            (60000.0, "60,000"),
        ] {
            assert_eq!(exact(v), expected);
        }
    }

    #[test]
    fn spread_decides_the_digits_of_the_mean() {
        for (mean, std, expected) in [
            (97.8312, Some(0.1234), "97.83 ± 0.12"),
            (97.8312, Some(0.0999), "97.83 ± 0.10"),
            (97.8312, Some(0.0951), "97.831 ± 0.095"),
            (1234.5, Some(56.7), "1,234 ± 57"),
            (12345.0, Some(678.0), "12,345 ± 678"),
            (3.21e-11, Some(1.13e-11), "(3.2 ± 1.1)×10⁻¹¹"),
            (1e-12, Some(3e-11), "(0.1 ± 3.0)×10⁻¹¹"),
            (2.5e7, Some(1.2e6), "(2.50 ± 0.12)×10⁷"),
            (0.5, Some(0.0), "0.5000 ± 0"),
            (100.0, Some(0.0), "100 ± 0"),
            (0.5, Some(1e-13), "0.500000 ± 1.0×10⁻¹³"),
            (0.0, Some(0.0), "0 ± 0"),
            (0.0, Some(2.5), "0.0 ± 2.5"),
            (-3.0, Some(0.25), "-3.00 ± 0.25"),
            (1234.56, None, "1,235"),
            (0.012346, None, "0.01235"),
            (5e-324, None, "4.941×10⁻³²⁴"),
            (1e300, Some(1e299), "(1.00 ± 0.10)×10³⁰⁰"),
        ] {
            assert_eq!(mean_std(mean, std), expected, "{mean} ± {std:?}");
        }
    }
}
