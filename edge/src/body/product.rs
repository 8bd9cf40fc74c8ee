//! The bodies with which an administrator defines and changes a product. A field that is not known
//! is refused with the one that was probably meant: a typo in a price or a limit must not pass.

use super::scalar::{Scalar, read_object};
use crate::limits::{DESCRIPTION_BYTES_MAX, FIELDS_MAX, PRODUCT_NAME_BYTES_MAX};
use crate::problem::Problem;
use crate::time::parse_rfc3339;
use doorbuster_protocol::command::{Define, SaleState};
use doorbuster_protocol::{Currency, ProductId, Timestamp, limits};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The body of `PUT /products/{product}`: terms for the engine, words for the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProductBody {
    /// The terms that are to change.
    pub(crate) terms: Define,
    /// Its name, when it is to change.
    pub(crate) name: Option<String>,
    /// Its description, when it is to change.
    pub(crate) description: Option<String>,
}

/// The body of `PUT /products/{product}/inventory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InventoryBody {
    /// Units to add.
    Add(u32),
    /// Units to take out.
    Withdraw(u32),
}

/// Reads the body of `PUT /products/{product}`. In `opensAt`, `closesAt` and `limitPerUser` a
/// `null` takes the restriction away.
pub(crate) fn parse_definition(bytes: &[u8], product: ProductId) -> Result<ProductBody, Problem> {
    let mut body = ProductBody { terms: Define::new(product), name: None, description: None };
    let terms = &mut body.terms;
    for (field, value) in fields(bytes)? {
        match &*field {
            "name" => body.name = Some(words(&value, "name", 1, PRODUCT_NAME_BYTES_MAX)?),
            "description" => {
                body.description = Some(words(&value, "description", 0, DESCRIPTION_BYTES_MAX)?);
            }
            "price" => terms.price = Some(value.number("price", 0, limits::PRICE_MAX)?),
            "currency" => terms.currency = Some(currency(&value)?),
            "stock" => terms.stock = Some(units(&value, "stock", 0, limits::STOCK_MAX)?),
            "opensAt" => terms.opens_at = Some(time(&value, "opensAt")?),
            "closesAt" => terms.closes_at = Some(time(&value, "closesAt")?),
            "limitPerUser" if value.is_null() => terms.limit_per_buyer = Some(0),
            "limitPerUser" => {
                let units = units(&value, "limitPerUser", 0, limits::STOCK_MAX)?;
                terms.limit_per_buyer = Some(units);
            }
            "holdSeconds" => {
                let seconds = units(&value, "holdSeconds", 1, limits::HOLD_SECONDS_MAX)?;
                terms.hold_seconds = Some(seconds);
            }
            "waitlistCapacity" => {
                let capacity = units(&value, "waitlistCapacity", 0, limits::WAITLIST_MAX)?;
                terms.waitlist_capacity = Some(capacity);
            }
            unknown => {
                return Err(unknown_field(
                    unknown,
                    &[
                        "name",
                        "description",
                        "price",
                        "currency",
                        "stock",
                        "opensAt",
                        "closesAt",
                        "limitPerUser",
                        "holdSeconds",
                        "waitlistCapacity",
                    ],
                ));
            }
        }
    }
    Ok(body)
}

/// Reads the body of `PUT /products/{product}/inventory`: `add` or `withdraw`, not both.
pub(crate) fn parse_inventory(bytes: &[u8]) -> Result<InventoryBody, Problem> {
    let mut change = None;
    for (field, value) in fields(bytes)? {
        let this = match &*field {
            "add" => InventoryBody::Add(units(&value, "add", 1, limits::STOCK_MAX)?),
            "withdraw" => InventoryBody::Withdraw(units(&value, "withdraw", 1, limits::STOCK_MAX)?),
            unknown => return Err(unknown_field(unknown, &["add", "withdraw"])),
        };
        if change.replace(this).is_some() {
            return Err(Problem::invalid("body", "Send either `add` or `withdraw`, not both"));
        }
    }
    change.ok_or_else(|| Problem::invalid("body", "Send {\"add\": UNITS} or {\"withdraw\": UNITS}"))
}

/// Reads the body of `PUT /products/{product}/state`.
pub(crate) fn parse_state(bytes: &[u8]) -> Result<SaleState, Problem> {
    let wanted = || Problem::invalid("state", "`state` must be \"paused\" or \"open\"");
    let mut state = None;
    for (field, value) in fields(bytes)? {
        match &*field {
            "state" => {
                state = Some(match value.text("state").map_err(|_| wanted())? {
                    "paused" => SaleState::Paused,
                    "open" => SaleState::Open,
                    _ => return Err(wanted()),
                });
            }
            unknown => return Err(unknown_field(unknown, &["state"])),
        }
    }
    state.ok_or_else(wanted)
}

/// The fields of an object of scalars, in order. One that stands twice is refused.
fn fields(bytes: &[u8]) -> Result<Vec<(Cow<'_, str>, Scalar<'_>)>, Problem> {
    let Fields(fields) = read_object(bytes)?;
    for (index, (field, _)) in fields.iter().enumerate() {
        if fields[..index].iter().any(|(earlier, _)| earlier == field) {
            let field = field.clone().into_owned();
            let detail = format!("`{field}` stands twice in the body. Say it once");
            return Err(Problem::invalid(field, detail));
        }
    }
    Ok(fields)
}

struct Fields<'a>(Vec<(Cow<'a, str>, Scalar<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllFields;
        impl<'de> Visitor<'de> for AllFields {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((field, value)) = map.next_entry::<Scalar<'de>, _>()? {
                    let Scalar::Text(field) = field else {
                        return Err(serde::de::Error::custom("a field's name must be a text"));
                    };
                    if fields.len() == FIELDS_MAX {
                        return Err(serde::de::Error::custom("too many fields"));
                    }
                    fields.push((field, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(AllFields)
    }
}

fn units(value: &Scalar<'_>, field: &str, least: u32, most: u32) -> Result<u32, Problem> {
    value.number(field, u64::from(least), u64::from(most)).map(|units| units as u32)
}

fn words(value: &Scalar<'_>, field: &str, least: usize, most: usize) -> Result<String, Problem> {
    let text = value.text(field)?;
    if !(least..=most).contains(&text.len()) || text.contains('\0') {
        let detail = format!("`{field}` must have {least} to {most} bytes, none of them zero");
        return Err(Problem::invalid(field.to_owned(), detail));
    }
    Ok(text.to_owned())
}

fn currency(value: &Scalar<'_>) -> Result<Currency, Problem> {
    value.text("currency").ok().and_then(Currency::parse).ok_or_else(|| {
        let detail = "`currency` must be an ISO 4217 code: three capital letters such as \"USD\"";
        Problem::invalid("currency", detail)
    })
}

fn time(value: &Scalar<'_>, field: &'static str) -> Result<Timestamp, Problem> {
    if value.is_null() {
        return Ok(Timestamp::NONE);
    }
    value.text(field).ok().and_then(parse_rfc3339).ok_or_else(|| {
        let detail = format!("`{field}` must be a time such as \"2030-06-01T10:00:00Z\", or null");
        Problem::invalid(field, detail)
    })
}

fn unknown_field(field: &str, known: &[&'static str]) -> Problem {
    // What a client sent is shown back to it, but not endlessly.
    let shown: String = field.chars().take(64).collect();
    let nearest = known.iter().map(|known| (distance(field, known), *known)).min();
    let detail = match nearest {
        Some((distance, known)) if distance <= 1 + known.len() / 4 => {
            format!("There is no field `{shown}`. Did you mean `{known}`?")
        }
        _ => format!("There is no field `{shown}`. The fields are: {}", known.join(", ")),
    };
    Problem::invalid(shown, detail)
}

/// Edit distance (Levenshtein), letters compared without case; long texts are far from everything.
fn distance(given: &str, known: &str) -> usize {
    let given: Vec<u8> = given.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let known: Vec<u8> = known.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    if given.len() > 2 * known.len() {
        return given.len();
    }
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (line, left) in given.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, right) in known.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[known.len()]
}

#[cfg(test)]
#[path = "product_test.rs"]
mod tests;
