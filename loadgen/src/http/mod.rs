//! A lean HTTP/1.1 client: one keep-alive connection, one request in flight.
//!
//! The generator shares its cores with the server, so the client does no more than it must: a
//! request is written into a buffer that is kept, and a response is read where it lies. It speaks
//! what an HTTP/1.1 server may answer (content length, chunks, until close), within bounds.

mod connection;
mod request;
mod response;

pub(crate) use connection::{HttpLane, HttpOrder};

use crate::answer::{Answer, Failure};
use doorbuster_protocol::OrderId;
use doorbuster_protocol::outcome::OrderStatus;
use response::Response;
use serde::Deserialize;
use std::borrow::Cow;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderBody<'a> {
    #[serde(borrow)]
    order_id: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ProblemBody<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

/// What a response says.
fn answer_of(response: &Response<'_>) -> Answer {
    let (status, body) = (response.status, &response.body[..]);
    let replayed = response.is_replayed;
    if (200..300).contains(&status) {
        let order = serde_json::from_slice::<OrderBody<'_>>(body).ok().and_then(|order| {
            let id: OrderId = order.order_id.parse().ok()?;
            Some((id, OrderStatus::parse(&order.status)?))
        });
        return match order {
            Some((order, status)) => Answer::Order { order, status, replayed },
            None => Answer::Failed(Failure::NONSENSE),
        };
    }
    let code = match serde_json::from_slice::<ProblemBody<'_>>(body) {
        Ok(problem) => known_code(&problem.code),
        Err(_) => Cow::Owned(format!("http-{status}")),
    };
    match status {
        429 | 503 => Answer::Failed(Failure {
            // Some of 503 say that nothing was done, in words.
            nothing_was_done: status == 429,
            is_busy: true,
            retry_after: response.retry_after.map(|seconds| Duration::from_secs(seconds.into())),
            ..Failure::busy(code)
        }),
        500.. => Answer::Failed(Failure::broken(code)),
        401 | 403 | 405 | 415 => {
            Answer::Failed(Failure { can_retry: false, ..Failure::not_done(code) })
        }
        _ => Answer::Refused(code),
    }
}

/// The common codes without an allocation.
fn known_code(code: &str) -> Cow<'static, str> {
    const KNOWN: [&str; 7] = [
        "sold-out",
        "purchase-limit",
        "order-final",
        "order-not-found",
        "sale-paused",
        "overloaded",
        "unavailable",
    ];
    match KNOWN.into_iter().find(|known| *known == code) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(code.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Class;

    #[test]
    fn responses_say_what_they_mean() {
        fn check(status: u16, replayed: bool, body: &str, want: Class) {
            let answer = answer_of(&Response {
                status,
                body: Cow::Borrowed(body.as_bytes()),
                is_replayed: replayed,
                retry_after: Some(7),
                closes: false,
                length: 0,
            });
            if let Answer::Failed(failure) = &answer {
                let wait = failure.is_busy.then_some(Duration::from_secs(7));
                assert_eq!(failure.retry_after, wait, "{status}");
            }
            assert_eq!(answer.class(), want, "{status} {body}: {answer:?}");
        }
        let order = OrderId::new(
            doorbuster_protocol::Timestamp::from_micros(1),
            doorbuster_protocol::PartitionId::new(1).expect("in range"),
            doorbuster_protocol::BuyerId::from_bytes([1; 16]),
            doorbuster_protocol::Sequence::new(1),
        );
        let body = |status: &str| format!(r#"{{"orderId":"{order}","status":"{status}","x":1}}"#);
        check(201, false, &body("pending"), Class::Accepted);
        check(201, true, &body("pending"), Class::Replayed);
        check(202, false, &body("queued"), Class::Queued);
        check(201, false, r#"{"orderId":"no-id","status":"pending"}"#, Class::Failed);
        check(201, false, "", Class::Failed);
        check(409, false, r#"{"title":"x","code":"sold-out"}"#, Class::SoldOut);
        check(409, false, r#"{"code":"purchase-limit"}"#, Class::Limit);
        check(410, false, r#"{"code":"sale-ended"}"#, Class::Refused);
        check(404, false, "not json", Class::Refused);
        check(401, false, r#"{"code":"unauthenticated"}"#, Class::Failed);
        check(503, false, r#"{"code":"overloaded"}"#, Class::Failed);
        check(500, false, "", Class::Failed);
    }
}
