//! What each route does, by resource.

pub(crate) mod health;
pub(crate) mod orders;
pub(crate) mod products;

use crate::limits::PAGE_ROWS_MAX;
use crate::problem::Problem;
use crate::router::{decode, query_value};
use crate::service::Call;
use std::str::FromStr;

/// Rows of a page, when the query does not say.
const PAGE_ROWS_DEFAULT: u32 = 20;

/// The parameter of a path as text.
fn parameter<'a>(
    segment: &'a str,
    field: &'static str,
) -> Result<std::borrow::Cow<'a, str>, Problem> {
    decode(segment).ok_or_else(|| {
        Problem::invalid(field, "The path has a broken percent-escape, or its bytes are not UTF-8")
    })
}

/// `limit` and `cursor` of a query.
fn page<C: FromStr<Err: std::fmt::Display>>(call: &Call<'_>) -> Result<(u32, Option<C>), Problem> {
    let query = call.head.uri.query();
    let limit = match query_value(query, "limit") {
        None => PAGE_ROWS_DEFAULT,
        Some(text) => text
            .and_then(|text| text.parse().ok())
            .filter(|limit| (1..=PAGE_ROWS_MAX).contains(limit))
            .ok_or_else(|| {
                let detail = format!("`limit` must be a whole number from 1 to {PAGE_ROWS_MAX}");
                Problem::invalid("limit", detail)
            })?,
    };
    let cursor = match query_value(query, "cursor") {
        None => None,
        Some(text) => {
            let text = text.unwrap_or_default();
            let cursor = text.parse().map_err(|error: C::Err| {
                Problem::invalid("cursor", format!("`cursor` is not valid: {error}"))
            })?;
            Some(cursor)
        }
    };
    Ok((limit, cursor))
}
