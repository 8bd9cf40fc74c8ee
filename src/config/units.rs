//! Numbers as people write them: `5ms`, `64MiB`, `10k`, `24h`.
//!
//! A number may have `_` between its digits and a fraction (`1.5h`) as long as the result is whole.
//! Decimal suffixes are powers of 1000, binary ones (`KiB`) powers of 1024.

use std::time::Duration;

type Scale = (&'static str, u64);

const TIMES: [Scale; 7] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];
const SIZES: [Scale; 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
const COUNTS: [Scale; 5] =
    [("", 1), ("k", 1_000), ("K", 1_000), ("m", 1_000_000), ("M", 1_000_000)];

/// A time span; a unit must be given, so that nobody has to guess it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let micros = scaled(text, &TIMES)
        .map_err(|reason| format!("{reason}; write a time such as 5ms, 2s, 10m, 24h or 7d"))?;
    Ok(Duration::from_micros(micros))
}

/// Bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    scaled(text, &SIZES)
        .map_err(|reason| format!("{reason}; write a size such as 4096, 64KiB, 32MiB or 4GiB"))
}

/// How many.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    scaled(text, &COUNTS)
        .map_err(|reason| format!("{reason}; write a number such as 500, 10k or 2M"))
}

fn scaled(text: &str, scales: &[Scale]) -> Result<u64, String> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || c == '_' || c == '.')).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let suffix = suffix.trim_start();
    let Some((_, scale)) = scales.iter().find(|(name, _)| *name == suffix) else {
        let wrong = if suffix.is_empty() { "the unit is missing" } else { "no such unit" };
        return Err(format!("`{text}`: {wrong}"));
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: String = whole.chars().filter(|c| *c != '_').collect();
    let number = |digits: &str| digits.parse::<u64>().ok();
    let value = number(&whole).and_then(|whole| {
        let mut value = whole.checked_mul(*scale)?;
        if !fraction.is_empty() {
            let parts = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            let scaled = number(fraction)?.checked_mul(*scale)?;
            if scaled % parts != 0 {
                return None;
            }
            value = value.checked_add(scaled / parts)?;
        }
        Some(value)
    });
    value.ok_or_else(|| format!("`{text}` is no whole number in range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        fn check(parse: fn(&str) -> Result<u64, String>, text: &str, expected: Option<u64>) {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
        let micros = |text: &str| duration(text).map(|d| d.as_micros() as u64);
        check(micros, "5ms", Some(5_000));
        check(micros, "1.5h", Some(5_400_000_000));
        check(micros, "24h", Some(86_400_000_000));
        check(micros, "10", None);
        check(micros, "0.1us", None);
        check(micros, "ms", None);
        check(micros, "-5ms", None);
        check(size, "64MiB", Some(64 << 20));
        check(size, "1_000", Some(1_000));
        check(size, "1.5KiB", Some(1_536));
        check(size, "18446744073709551616", None);
        check(size, "99999999999GiB", None);
        check(count, "10k", Some(10_000));
        check(count, "2.5M", Some(2_500_000));
        check(count, "10x", None);
        check(count, "", None);
    }
}
