//! Times as people and scripts write them: RFC 3339, between 1970 and 9999, exact to the
//! microsecond.
//!
//! What is written is always UTC with a `Z`; what is read may carry any offset. The civil calendar
//! is computed as in Howard Hinnant's "chrono-compatible low-level date algorithms"; there are no
//! time zones and no leap seconds here (`:60` is refused, as Unix time cannot say it).

use doorbuster_protocol::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

const SECOND_US: u64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
/// The first second of the year 10000.
const END_SECONDS: i64 = 253_402_300_800;

/// The time by this machine's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Appends `at` as RFC 3339 in UTC. The fraction has 0, 3 or 6 digits: as many as say it exactly.
/// Times after 9999 are written as its last microsecond.
pub fn write_rfc3339(at: Timestamp, out: &mut Vec<u8>) {
    let at = at.micros().min(END_SECONDS as u64 * SECOND_US - 1);
    let (seconds, micros) = ((at / SECOND_US) as i64, (at % SECOND_US) as u32);
    let (year, month, day) = civil_from_days(seconds / DAY_SECONDS);
    let in_day = (seconds % DAY_SECONDS) as u32;
    digits(year as u32, 4, out);
    out.push(b'-');
    digits(month, 2, out);
    out.push(b'-');
    digits(day, 2, out);
    out.push(b'T');
    digits(in_day / 3600, 2, out);
    out.push(b':');
    digits(in_day / 60 % 60, 2, out);
    out.push(b':');
    digits(in_day % 60, 2, out);
    if micros > 0 {
        out.push(b'.');
        if micros.is_multiple_of(1_000) {
            digits(micros / 1_000, 3, out);
        } else {
            digits(micros, 6, out);
        }
    }
    out.push(b'Z');
}

/// Reads RFC 3339. `None` when the text is none, when it lies outside 1970 to 9999, or when it is
/// the very epoch, which stands for "no time" everywhere else. Digits past microseconds are cut.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let mut from = Scanner(text.as_bytes());
    let year = from.number(4)?;
    from.one_of(b"-")?;
    let month = from.number(2)?;
    from.one_of(b"-")?;
    let day = from.number(2)?;
    from.one_of(b"Tt ")?;
    let hour = from.number(2)?;
    from.one_of(b":")?;
    let minute = from.number(2)?;
    from.one_of(b":")?;
    let second = from.number(2)?;
    let micros = if from.peek() == Some(b'.') { from.fraction()? } else { 0 };
    let offset = from.offset()?;
    if !from.0.is_empty()
        || !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let seconds = days_from_civil(i64::from(year), i64::from(month), i64::from(day)) * DAY_SECONDS
        + i64::from(hour * 3600 + minute * 60 + second)
        - offset;
    if !(0..END_SECONDS).contains(&seconds) {
        return None;
    }
    let at = Timestamp::from_micros(seconds as u64 * SECOND_US + u64::from(micros));
    (!at.is_none()).then_some(at)
}

fn digits(value: u32, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        out.push(b'0' + (value / 10_u32.pow(place) % 10) as u8);
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch of a civil date.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The civil date of a day since the epoch.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = (if shifted < 10 { shifted + 3 } else { shifted - 9 }) as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Takes fixed pieces off the front of a text.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }
    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !allowed.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }
    fn number(&mut self, width: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..width {
            value = value * 10 + u32::from(self.one_of(b"0123456789")? - b'0');
        }
        Some(value)
    }
    /// `.` and at least one digit, as microseconds.
    fn fraction(&mut self) -> Option<u32> {
        self.one_of(b".")?;
        let mut micros = self.number(1)? * 100_000;
        let mut scale = 10_000;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            micros += u32::from(digit - b'0') * scale;
            scale /= 10;
            self.0 = &self.0[1..];
        }
        Some(micros)
    }
    /// Seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.number(2)?;
        self.one_of(b":")?;
        let minutes = self.number(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * i64::from(hours * 3600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(micros: u64) -> String {
        let mut out = Vec::new();
        write_rfc3339(Timestamp::from_micros(micros), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_times_are_read_and_written() {
        let check = |text: &str, micros: u64| {
            assert_eq!(parse_rfc3339(text).map(Timestamp::micros), Some(micros), "reading {text}");
            assert_eq!(written(micros), text, "writing {micros}");
        };
        check("1970-01-01T00:00:01Z", 1_000_000);
        check("2000-02-29T12:34:56Z", 951_827_696_000_000);
        check("2024-02-29T23:59:59.999Z", 1_709_251_199_999_000);
        check("2038-01-19T03:14:08.000001Z", 2_147_483_648_000_001);
        check("2100-03-01T00:00:00Z", 4_107_542_400_000_000);
        check("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999);
    }

    #[test]
    fn other_spellings_are_read() {
        let check = |text: &str, same_as: &str| {
            assert_eq!(parse_rfc3339(text), parse_rfc3339(same_as), "{text}");
            assert!(parse_rfc3339(text).is_some(), "{text}");
        };
        check("2030-06-01t10:00:00z", "2030-06-01T10:00:00Z");
        check("2030-06-01 10:00:00Z", "2030-06-01T10:00:00Z");
        check("2030-06-01T12:30:00+02:30", "2030-06-01T10:00:00Z");
        check("2030-05-31T23:00:00-11:00", "2030-06-01T10:00:00Z");
        check("2030-06-01T10:00:00.5Z", "2030-06-01T10:00:00.500Z");
        check("2030-06-01T10:00:00.1234567890Z", "2030-06-01T10:00:00.123456Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2030",
            "2030-06-01",
            "2030-06-01T10:00Z",
            "2030-06-01T10:00:00",
            "2030-06-01T10:00:00.Z",
            "2030-06-01T10:00:00Z ",
            "2030-13-01T10:00:00Z",
            "2030-00-01T10:00:00Z",
            "2030-02-29T10:00:00Z",
            "2100-02-29T10:00:00Z",
            "2030-06-31T10:00:00Z",
            "2030-06-01T24:00:00Z",
            "2030-06-01T10:60:00Z",
            "2030-06-01T10:00:60Z",
            "2030-06-01T10:00:00+24:00",
            "2030-06-01T10:00:00+0200",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
            "９030-06-01T10:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in 0..146_097_u64 {
            let micros = (day * 86_400 + 43_200) * SECOND_US;
            assert_eq!(parse_rfc3339(&written(micros)).map(Timestamp::micros), Some(micros));
        }
    }

    #[test]
    fn a_time_past_the_calendar_is_written_as_its_end() {
        assert_eq!(written(u64::MAX), "9999-12-31T23:59:59.999999Z");
    }
}
