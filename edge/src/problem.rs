//! What is said when a request is not done: RFC 9457 problem documents.
//!
//! A [`Code`] is the stable name that programs look at; it fixes status and title. A [`Problem`]
//! adds what happened this time, why, and what to do next.

use crate::json::Object;
use bytes::Bytes;
use doorbuster_protocol::Timestamp;
use doorbuster_protocol::outcome::OrderStatus;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use std::borrow::Cow;
use std::sync::LazyLock;

/// What a client may do, what of it is left, and when there will be more
/// (draft-ietf-httpapi-ratelimit-headers-06).
const RATE_LIMIT: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

/// The stable names of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    ProductNotFound,
    OrderNotFound,
    MethodNotAllowed,
    RequestTimeout,
    SoldOut,
    PurchaseLimit,
    SaleNotOpen,
    SalePaused,
    OrderFinal,
    OrderQueued,
    StockCommitted,
    CurrencyFixed,
    SaleEnded,
    BodyTooLarge,
    PathTooLong,
    UnsupportedMediaType,
    IdempotencyMismatch,
    Unsupported,
    RateLimited,
    HeadersTooLarge,
    Internal,
    Overloaded,
    Unavailable,
    Timeout,
    HttpVersion,
}

impl Code {
    /// Every code.
    pub(crate) const ALL: [Self; 29] = [
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::ProductNotFound,
        Self::OrderNotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::SoldOut,
        Self::PurchaseLimit,
        Self::SaleNotOpen,
        Self::SalePaused,
        Self::OrderFinal,
        Self::OrderQueued,
        Self::StockCommitted,
        Self::CurrencyFixed,
        Self::SaleEnded,
        Self::BodyTooLarge,
        Self::PathTooLong,
        Self::UnsupportedMediaType,
        Self::IdempotencyMismatch,
        Self::Unsupported,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Overloaded,
        Self::Unavailable,
        Self::Timeout,
        Self::HttpVersion,
    ];

    /// Its name, its status, its title.
    const fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid-request", 400, "The request is not valid"),
            Self::Unauthenticated => ("unauthenticated", 401, "A valid bearer token is needed"),
            Self::Forbidden => ("forbidden", 403, "The token does not allow this"),
            Self::NotFound => ("not-found", 404, "There is nothing at this path"),
            Self::ProductNotFound => ("product-not-found", 404, "There is no such product"),
            Self::OrderNotFound => ("order-not-found", 404, "There is no such order"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", 405, "The path does not take this method")
            }
            Self::RequestTimeout => ("request-timeout", 408, "The request took too long to arrive"),
            Self::SoldOut => ("sold-out", 409, "Sold out"),
            Self::PurchaseLimit => ("purchase-limit", 409, "Over the limit per buyer"),
            Self::SaleNotOpen => ("sale-not-open", 409, "The sale has not opened yet"),
            Self::SalePaused => ("sale-paused", 409, "The sale is paused"),
            Self::OrderFinal => ("order-final", 409, "The order cannot change any more"),
            Self::OrderQueued => ("order-queued", 409, "The order is still on the waitlist"),
            Self::StockCommitted => {
                ("stock-committed", 409, "The stock cannot go below what is sold and held")
            }
            Self::CurrencyFixed => ("currency-fixed", 409, "The currency cannot change"),
            Self::SaleEnded => ("sale-ended", 410, "The sale is over"),
            Self::BodyTooLarge => ("body-too-large", 413, "The body is too large"),
            Self::PathTooLong => ("path-too-long", 414, "The path is too long"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", 415, "The body is not of a type that is taken here")
            }
            Self::IdempotencyMismatch => {
                ("idempotency-mismatch", 422, "The key was used with another body")
            }
            Self::Unsupported => ("unsupported", 422, "This is not supported"),
            Self::RateLimited => ("rate-limited", 429, "Too many requests"),
            Self::HeadersTooLarge => ("headers-too-large", 431, "The request has too many headers"),
            Self::Internal => ("internal", 500, "This server made a mistake"),
            Self::Overloaded => ("overloaded", 503, "Too busy to take this now"),
            Self::Unavailable => ("unavailable", 503, "Not available now"),
            Self::Timeout => ("timeout", 503, "The answer did not come in time"),
            Self::HttpVersion => ("http-version", 505, "This version of HTTP is not spoken here"),
        }
    }

    /// Its name in the document.
    pub(crate) const fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// The members that are the same in all its documents. Refusals are most of a sale's answers,
    /// so these are written once.
    fn opening(self) -> &'static str {
        static OPENINGS: LazyLock<[String; Code::ALL.len()]> = LazyLock::new(|| {
            Code::ALL.map(|code| {
                let (name, status, title) = code.parts();
                format!(
                    r#"{{"type":"urn:doorbuster:problem:{name}","title":"{title}","status":{status},"code":"{name}""#
                )
            })
        });
        &OPENINGS[self as usize]
    }

    /// The status that goes with it.
    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.parts().1).expect("the table holds statuses only")
    }
}

/// A member of the document that only some codes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extra {
    OpensAt(Timestamp),
    ClosesAt(Timestamp),
    Limit(u32),
    OrderStatus(OrderStatus),
    Committed(u32),
}

/// One problem, ready to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    extra: Option<Extra>,
    /// Seconds, for the header of that name.
    retry_after: Option<u32>,
    /// Requests that may come at once, of a rate limit that is used up.
    quota: Option<u32>,
    /// `Allow` of a 405, `WWW-Authenticate` of a 401.
    header: Option<&'static str>,
    /// Whether the connection ends with this answer.
    closes: bool,
}

impl Problem {
    /// A problem with this detail: what happened, why, and what to do next.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            extra: None,
            retry_after: None,
            quota: None,
            header: None,
            closes: false,
        }
    }

    /// [`Code::InvalidRequest`] because of one field, header, or part of the path or query.
    pub(crate) fn invalid(
        field: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Code::InvalidRequest, detail).about(field)
    }

    /// Because of one field, header, or part of the request.
    #[must_use]
    pub(crate) fn about(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// With a member of its own.
    #[must_use]
    pub(crate) fn with(mut self, extra: Extra) -> Self {
        self.extra = Some(extra);
        self
    }

    /// With `Retry-After: seconds`.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With the headers of a rate limit of which nothing is left for `seconds`.
    #[must_use]
    pub(crate) fn used_up(mut self, limit: u32, seconds: u32) -> Self {
        self.quota = Some(limit);
        self.retry_after(seconds)
    }

    /// With the value of `Allow` (405) or `WWW-Authenticate` (401).
    #[must_use]
    pub(crate) fn header(mut self, value: &'static str) -> Self {
        self.header = Some(value);
        self
    }

    /// With an end to the connection.
    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// Its code.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// Whether the connection ends with it.
    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    /// The document. `request` must need no escapes in JSON.
    pub(crate) fn document(&self, request: &str) -> Vec<u8> {
        let mut object = Object::after(self.code.opening(), 128 + self.detail.len());
        object.text("detail", &self.detail);
        if let Some(field) = &self.field {
            object.text("field", field);
        }
        match self.extra {
            None => {}
            Some(Extra::OpensAt(at)) => _ = object.time("opensAt", at),
            Some(Extra::ClosesAt(at)) => _ = object.time("closesAt", at),
            Some(Extra::Limit(units)) => _ = object.number("limitPerUser", units),
            Some(Extra::OrderStatus(status)) => _ = object.word("orderStatus", status.as_str()),
            Some(Extra::Committed(units)) => _ = object.number("committed", units),
        }
        object.word("requestId", request);
        object.finish()
    }

    /// The answer.
    pub(crate) fn into_response(self, request: &str) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.document(request))));
        *response.status_mut() = self.code.status();
        self.put_headers(response.headers_mut());
        response
    }

    /// The headers that go with it.
    pub(crate) fn put_headers(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let (Some(limit), Some(seconds)) = (self.quota, self.retry_after) {
            for (name, value) in RATE_LIMIT.into_iter().zip([limit, 0, seconds]) {
                headers.insert(name, HeaderValue::from(value));
            }
        }
        if let Some(value) = self.header {
            let name = match self.code {
                Code::MethodNotAllowed => header::ALLOW,
                _ => header::WWW_AUTHENTICATE,
            };
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_in_the_list_once_and_named_once() {
        let mut names = HashSet::new();
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index, "{code:?}");
            assert!(names.insert(code.as_str()), "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }

    #[test]
    fn a_document_has_all_members() {
        let problem = Problem::invalid("items[0].quantity", "say \"1\"")
            .with(Extra::OpensAt(Timestamp::NONE));
        let document: serde_json::Value =
            serde_json::from_slice(&problem.document("abc-1")).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "type": "urn:doorbuster:problem:invalid-request",
                "title": "The request is not valid",
                "status": 400,
                "detail": "say \"1\"",
                "code": "invalid-request",
                "field": "items[0].quantity",
                "opensAt": null,
                "requestId": "abc-1",
            })
        );
    }

    #[test]
    fn headers_follow_the_code() {
        let check = |problem: Problem, name: &str, value: &str| {
            let response = problem.into_response("r");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(response.headers()[name], value);
        };
        check(Problem::new(Code::MethodNotAllowed, "").header("PUT"), "allow", "PUT");
        check(
            Problem::new(Code::Unauthenticated, "").header("Bearer"),
            "www-authenticate",
            "Bearer",
        );
        check(Problem::new(Code::Overloaded, "").retry_after(2), "retry-after", "2");
        let used_up = || Problem::new(Code::RateLimited, "").used_up(20, 3);
        check(used_up(), "retry-after", "3");
        check(used_up(), "ratelimit-limit", "20");
        check(used_up(), "ratelimit-remaining", "0");
        check(used_up(), "ratelimit-reset", "3");
        check(Problem::new(Code::BodyTooLarge, "").closing(), "connection", "close");
    }
}
