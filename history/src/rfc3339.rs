//! Times of the log's lines: RFC 3339 in UTC, with up to six digits of a second.

/// Microseconds since the epoch; `None` for what is no time in UTC.
pub fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(number);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let is_in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && (1..=6).contains(&fraction.len());
    if !is_in_range {
        return None;
    }
    let micros = number(fraction)? * 10u64.pow(6 - fraction.len() as u32);
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// Days from the epoch to a date, counted year by year from March on, so that a leap day is the
/// last of its year.
fn days(year: u64, month: u64, day: u64) -> u64 {
    const TO_EPOCH: u64 = 719_468;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let in_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + in_year - TO_EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let check = |text: &str, micros: Option<u64>| assert_eq!(parse(text), micros, "{text}");
        check("1970-01-01T00:00:01Z", Some(1_000_000));
        check("2000-02-29T12:34:56Z", Some(951_827_696_000_000));
        check("2024-02-29T23:59:59.999Z", Some(1_709_251_199_999_000));
        check("2038-01-19T03:14:08.000001Z", Some(2_147_483_648_000_001));
        check("2100-03-01T00:00:00Z", Some(4_107_542_400_000_000));
        check("9999-12-31T23:59:59.999999Z", Some(253_402_300_799_999_999));
        for no in ["", "2024-02-29", "2024-02-29T23:59:59", "2024-13-01T00:00:00Z", "x"] {
            check(no, None);
        }
        check("2024-02-29T23:59:59.1234567Z", None);
        check("2024-02-29T23:59:+9Z", None);
    }
}
