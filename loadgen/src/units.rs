//! Numbers and times as people write them (`10k`, `500ms`), and as they like to read them.

use std::time::Duration;

/// A number such as `500`, `10k` or `1.5m`: k is a thousand, m a million.
pub fn parse_number(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.trim().to_ascii_lowercase() {
        text if text.ends_with('k') => (text[..text.len() - 1].to_owned(), 1e3),
        text if text.ends_with('m') => (text[..text.len() - 1].to_owned(), 1e6),
        text => (text, 1.0),
    };
    match digits.replace('_', "").parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number * factor),
        _ => Err("write a number such as 500, 10k or 1.5m".to_owned()),
    }
}

/// A whole number, written in the same way.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let number = parse_number(text)?;
    if number.fract() == 0.0 && number < 9e15 {
        Ok(number as u64)
    } else {
        Err("write a whole number such as 500, 10k or 1.5m".to_owned())
    }
}

/// A time such as `500ms`, `30s`, `5m` or `1h`; without a unit, seconds.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let unit_at = text.find(char::is_alphabetic).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let seconds_per_unit = match unit {
        // Two signs look like this one.
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err("write a time such as 500ms, 30s, 5m or 1h".to_owned()),
    };
    match digits.trim().parse::<f64>() {
        Ok(number) if (0.0..=1e9).contains(&number) => {
            Ok(Duration::from_secs_f64(number * seconds_per_unit))
        }
        _ => Err("write a time such as 500ms, 30s, 5m or 1h".to_owned()),
    }
}

/// A number in groups of three.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A rate: whole when it is large enough for that.
pub fn rate(per_second: f64) -> String {
    if per_second >= 10.0 {
        number(per_second.round() as u64)
    } else {
        format!("{}", (per_second * 1e3).round() / 1e3)
    }
}

/// A share in percent, with as many digits as say something.
pub fn share(share: f64) -> String {
    let percent = share * 100.0;
    let rounded = match percent {
        0.0..0.1 => (percent * 1e4).round() / 1e4,
        _ => (percent * 1e2).round() / 1e2,
    };
    format!("{rounded} %")
}

/// A time with three digits that matter.
pub fn time(micros: u64) -> String {
    let millis = micros as f64 / 1e3;
    match micros {
        0..=999 => format!("{micros} µs"),
        1_000..=9_994 => format!("{millis:.2} ms"),
        9_995..=99_949 => format!("{millis:.1} ms"),
        99_950..=999_499 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1e3),
    }
}

/// A date and a time of day in UTC, from milliseconds since 1970.
pub fn date(since_1970_ms: u64) -> String {
    let seconds = since_1970_ms / 1_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from a first of March, in eras of 400 years: the leap day is then the last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day_of_month:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_read() {
        for (text, want) in [
            ("7", Some(7)),
            ("10k", Some(10_000)),
            ("1.5M", Some(1_500_000)),
            ("200_000", Some(200_000)),
            ("1.5", None),
            ("-1", None),
            ("k", None),
            ("", None),
            ("inf", None),
        ] {
            assert_eq!(parse_count(text).ok(), want, "{text}");
        }
        for (text, want) in [
            ("250us", Some(Duration::from_micros(250))),
            ("250µs", Some(Duration::from_micros(250))),
            ("500ms", Some(Duration::from_millis(500))),
            ("30s", Some(Duration::from_secs(30))),
            ("2", Some(Duration::from_secs(2))),
            ("1.5m", Some(Duration::from_secs(90))),
            ("1h", Some(Duration::from_secs(3_600))),
            ("1 d", None),
            ("s", None),
            ("-1s", None),
        ] {
            assert_eq!(parse_time(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, want) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_735_689_600, "2025-01-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(seconds * 1_000), want);
        }
    }

    #[test]
    fn numbers_and_times_are_short() {
        for (value, want) in [(0, "0"), (999, "999"), (1_000, "1 000"), (12_345_678, "12 345 678")]
        {
            assert_eq!(number(value), want);
        }
        for (value, want) in [(0.5, "0.5"), (10.0 / 3.0, "3.333"), (1_234.5, "1 235")] {
            assert_eq!(rate(value), want);
        }
        for (value, want) in
            [(0.0, "0 %"), (0.01, "1 %"), (0.12345, "12.35 %"), (1.23e-5, "0.0012 %")]
        {
            assert_eq!(share(value), want);
        }
        for (micros, want) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1.00 ms"),
            (9_994, "9.99 ms"),
            (9_996, "10.0 ms"),
            (12_340, "12.3 ms"),
            (99_960, "100 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (61_000_000, "61.00 s"),
        ] {
            assert_eq!(time(micros), want, "{micros}");
        }
    }
}
