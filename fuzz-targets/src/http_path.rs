//! What stands in the first line of a request: paths, escapes, queries, and the ids, cursors and
//! times in them, each against a second, simpler reading.

use crate::Seed;
use doorbuster_edge::fuzzing::{decode, query_value, route};
use doorbuster_edge::time::{parse_rfc3339, write_rfc3339};
use doorbuster_persistence::{BucketSet, OrderCursor, ProductCursor};
use doorbuster_protocol::{BuyerId, OrderId, ProductId, Timestamp};
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// What paths are made of.
pub const WORDS: &[&str] = &[
    "/orders",
    "/orders/flash-sale/",
    "/orders/user/",
    "/status",
    "/cancel",
    "/pay",
    "/products",
    "/products/flash-sale",
    "/inventory",
    "/state",
    "/health",
    "/ready",
    "limit=",
    "cursor=",
    "%",
    "%2F",
    "%C3%A9",
    "%ff",
    "?",
    "&",
    "=",
    "2030-06-01T10:00:00.5+02:00",
    "0-255,512",
    "none",
];

/// The routes, as `edge/src/router.rs` lists them for metrics.
const ROUTES: [&str; 14] = [
    "/health",
    "/ready",
    "/orders",
    "/orders/flash-sale/{product}",
    "/orders/{id}",
    "/orders/{id}/status",
    "/orders/{id}/cancel",
    "/orders/{id}/pay",
    "/orders/user/{userId}",
    "/products",
    "/products/flash-sale",
    "/products/{product}",
    "/products/{product}/inventory",
    "/products/{product}/state",
];

/// One input: a target of a request.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    check_route(path);
    for segment in path.split('/').chain([text]) {
        check_escapes(segment);
        check_texts(segment);
    }
    for name in ["limit", "cursor", ""] {
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let expected = pairs.find(|(key, _)| *key == name).map(|(_, value)| decode(value));
        assert_eq!(query_value(query, name), expected, "{name}");
    }
}

/// The route is the one whose words and parameters stand in the path; where several do, the one
/// whose word comes first.
fn check_route(path: &str) {
    let (found, parameter) = route(path);
    let given: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let words: Vec<&str> = template.split('/').collect();
        let fit = |(word, given): (&&str, &&str)| {
            if word.starts_with('{') { !given.is_empty() } else { word == given }
        };
        words.len() == given.len() && words.iter().zip(&given).all(fit)
    };
    let literal = |template: &str| -> Vec<bool> {
        template.split('/').map(|word| !word.starts_with('{')).collect()
    };
    let expected =
        ROUTES.into_iter().filter(|route| fits(route)).max_by_key(|route| literal(route));
    assert_eq!(found, expected.unwrap_or("unknown"), "{path}");
    if let Some(template) = expected {
        let word = |word: &str| match word.starts_with('{') {
            true => parameter.expect("the route has a parameter").to_owned(),
            false => word.to_owned(),
        };
        let again: Vec<String> = template.split('/').map(word).collect();
        assert_eq!(again.join("/"), path, "route and parameter give the path again");
    }
}

/// Percent-escapes, read a second time.
fn check_escapes(text: &str) {
    let bytes = text.as_bytes();
    let mut plain = Some(Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        let byte = match bytes[at] {
            b'%' => {
                at += 2;
                let digits = bytes.get(at - 1..=at).and_then(|d| std::str::from_utf8(d).ok());
                let digits = digits.filter(|d| d.bytes().all(|byte| byte.is_ascii_hexdigit()));
                digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            byte => Some(byte),
        };
        plain = plain.zip(byte).map(|(plain, byte)| [plain, vec![byte]].concat());
        at += 1;
    }
    let expected = plain.and_then(|plain| String::from_utf8(plain).ok());
    assert_eq!(decode(text).as_deref(), expected.as_deref(), "{text}");
}

/// Ids, cursors, buckets and times that can be read can be written, and read the same.
fn check_texts(text: &str) {
    check_text::<OrderId>(text);
    check_text::<OrderCursor>(text);
    check_text::<ProductCursor>(text);
    check_text::<BucketSet>(text);
    let (product, buyer) = (ProductId::parse(text), BuyerId::parse(text));
    assert_eq!(product.is_ok(), buyer.is_ok(), "both take the same names: {text}");
    if let Ok(product) = product {
        assert_eq!(ProductId::parse(&product.to_string()), Ok(product));
    }
    check_time(text);
}

fn check_text<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().ok(), Some(value), "{text}");
    }
}

/// A time against days that are counted one year and one month after the other.
fn check_time(text: &str) {
    let read = parse_rfc3339(text);
    assert_eq!(read.map(Timestamp::micros), micros(text), "{text}");
    if let Some(at) = read {
        let mut written = Vec::new();
        write_rfc3339(at, &mut written);
        let written = String::from_utf8(written).expect("ASCII");
        assert_eq!(parse_rfc3339(&written), Some(at), "{text}");
    }
}

fn micros(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let between = [4, 7, 10, 13, 16].map(|at| text.as_bytes()[at]);
    if between[0] != b'-' || between[1] != b'-' || between[3] != b':' || between[4] != b':' {
        return None;
    }
    let rest = &text[19..];
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            (Some(&rest[..end]).filter(|digits| !digits.is_empty())?, &rest[end..])
        }
        None => ("", rest),
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = match zone.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let at = text.len() - zone.len();
            let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
            if zone.len() != 6 || zone.as_bytes()[3] != b':' || hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 60 + minutes) * 60
        }
    };
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = |year, month| match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 59
        && b"Tt ".contains(&between[2]);
    // A year before the first may become it by its offset.
    if !in_range || year < 1969 {
        return None;
    }
    let years: i64 = (1970..year).map(|year| 365 + i64::from(is_leap(year))).sum();
    let before = if year < 1970 { -365 } else { 0 };
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    let days = years + before + months + day - 1;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let is_in_calendar = (0..253_402_300_800).contains(&seconds);
    let micros = u64::try_from(seconds).ok()? * 1_000_000 + fraction.parse::<u64>().ok()?;
    (is_in_calendar && micros > 0).then_some(micros)
}

/// Paths of every route, and texts of every kind.
pub fn seeds() -> Vec<Seed> {
    let texts = [
        "/orders/0196f0f0-0000-8001-8000-00000000a123?x",
        "/orders/user/ann?limit=5&cursor=0100060000000000000000000000000000000000000000000000",
        "/products?limit=&cursor=0200060000000000000000000000000000000000000000000000&limit=1",
        "/orders/flash-sale/caf%C3%A9%2Fx",
        "/orders/flash-sale",
        "/orders//status",
        "/orders/%",
        "2030-06-01T10:00:00Z",
        "2024-02-29T23:59:59.999999-23:59",
        "1970-01-01T00:00:00.1+00:00",
        "9999-12-31t23:59:59z",
        "0-255,512, 1000-1023",
        "none",
    ];
    let routes = ROUTES.map(|route| route.replace(['{', '}'], ""));
    let all = routes.into_iter().chain(texts.map(str::to_owned)).enumerate();
    all.map(|(number, text)| (format!("path-{number}"), text.into_bytes())).collect()
}
