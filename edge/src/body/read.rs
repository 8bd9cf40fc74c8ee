//! Reading a body within a size and a time, both of which a client may try to exceed.

use crate::alarm::{Alarm, Overdue};
use crate::config::BODY_GRACE;
use crate::problem::{Code, Problem};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, header};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::Instant;

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes.
    pub(crate) bytes_max: usize,
    /// From the end of the headers to the end of the body.
    pub(crate) timeout: Duration,
    /// Bytes per second, after the grace.
    pub(crate) rate_min: Option<NonZeroU32>,
}

impl BodyLimits {
    /// When more must have come than the `bytes` that have, after a beginning at `started`.
    fn deadline(&self, started: Instant, bytes: usize) -> Instant {
        let in_all = started + self.timeout;
        let Some(rate) = self.rate_min else { return in_all };
        let earned = Duration::from_secs_f64(bytes as f64 / f64::from(rate.get()));
        in_all.min(started + BODY_GRACE + earned)
    }
}

/// The whole body. A length that is announced is judged before anything is read; one that is not
/// is judged while it arrives.
pub(crate) async fn read(
    mut body: Incoming,
    alarm: &Alarm,
    limits: BodyLimits,
) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limits.bytes_max as u64 {
        return Err(too_large(limits));
    }
    let started = Instant::now();
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    while !body.is_end_stream() {
        let so_far = more.as_ref().map_or(first.len(), BytesMut::len);
        let deadline = limits.deadline(started, so_far);
        let frame = match alarm.within(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(broken(&error)),
            Err(Overdue) => {
                return Err(Problem::new(
                    Code::RequestTimeout,
                    "The body did not arrive in time. Nothing was done; send it again",
                )
                .closing());
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        if so_far + data.len() > limits.bytes_max {
            return Err(too_large(limits));
        }
        // Nearly every body comes in one piece, and is not copied.
        match &mut more {
            Some(more) => more.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut both = BytesMut::from(first.as_ref());
                both.extend_from_slice(&data);
                more = Some(both);
            }
        }
    }
    Ok(more.map_or(first, BytesMut::freeze))
}

/// Refuses a body that is named as anything but JSON in UTF-8. No name at all passes as JSON.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = || {
        Problem::new(
            Code::UnsupportedMediaType,
            "Bodies are taken as JSON only. Send `Content-Type: application/json`, and no \
             `Content-Encoding`",
        )
    };
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(refused());
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    if is_json(value.as_bytes()) { Ok(()) } else { Err(refused()) }
}

fn is_json(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b';');
    let media_type = parts.next().unwrap_or_default().trim_ascii();
    media_type.eq_ignore_ascii_case(b"application/json")
        && parts.all(|parameter| {
            let mut pair = parameter.splitn(2, |byte| *byte == b'=');
            let name = pair.next().unwrap_or_default().trim_ascii();
            let value = pair.next().unwrap_or_default().trim_ascii();
            !name.eq_ignore_ascii_case(b"charset")
                || [&b"utf-8"[..], b"\"utf-8\"", b"utf8", b"us-ascii"]
                    .iter()
                    .any(|known| value.eq_ignore_ascii_case(known))
        })
}

fn too_large(limits: BodyLimits) -> Problem {
    let detail = format!("A body has {} bytes at the most here", limits.bytes_max);
    Problem::new(Code::BodyTooLarge, detail).closing()
}

fn broken(error: &hyper::Error) -> Problem {
    Problem::invalid("body", format!("The body broke off or is not well framed: {error}")).closing()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    #[test]
    fn only_json_in_utf8_is_taken() {
        let check = |name: HeaderName, value: &str, taken: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(&name, HeaderValue::from_str(value).unwrap());
            assert_eq!(require_json(&headers).is_ok(), taken, "{name}: {value}");
        };
        require_json(&HeaderMap::new()).unwrap();
        for (value, taken) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/json; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\" ; x=y", true),
            ("application/json; charset=utf-16", false),
            ("application/jsonp", false),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=application/json", false),
            ("", false),
        ] {
            check(header::CONTENT_TYPE, value, taken);
        }
        check(header::CONTENT_ENCODING, "identity", true);
        check(header::CONTENT_ENCODING, "gzip", false);
    }
}
