//! One JSON value that has not been judged yet, so that a wrong type can be answered with the name
//! of its field. Texts without escapes are borrowed.

use crate::problem::Problem;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A value of any type; what is no scalar is skipped.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Flag(bool),
    /// A whole number that is not negative.
    Number(u64),
    /// A number that is negative, has a fraction, or is out of range.
    OtherNumber,
    Text(Cow<'a, str>),
    Nested,
}

impl Scalar<'_> {
    /// A whole number from `least` to `most`.
    pub(super) fn number(&self, field: &str, least: u64, most: u64) -> Result<u64, Problem> {
        match self {
            Self::Number(value) if (least..=most).contains(value) => Ok(*value),
            _ => Err(Problem::invalid(
                field.to_owned(),
                format!("`{field}` must be a whole number from {least} to {most}"),
            )),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, field: &str) -> Result<bool, Problem> {
        match self {
            Self::Flag(value) => Ok(*value),
            _ => {
                Err(Problem::invalid(field.to_owned(), format!("`{field}` must be true or false")))
            }
        }
    }

    /// A text.
    pub(super) fn text(&self, field: &str) -> Result<&str, Problem> {
        match self {
            Self::Text(value) => Ok(value),
            _ => Err(Problem::invalid(field.to_owned(), format!("`{field}` must be a text"))),
        }
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Flag(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(value).map_or(Scalar::OtherNumber, Scalar::Number))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::OtherNumber)
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
}

/// The problem of bytes that are no JSON object.
fn no_object(error: Option<&serde_json::Error>) -> Problem {
    let detail = match error {
        Some(error) => format!("The body is no valid JSON: {error}"),
        None => "The body must be a JSON object, such as {\"quantity\": 1}".to_owned(),
    };
    Problem::invalid("body", detail)
}

/// Reads a JSON object in UTF-8 into `T`.
pub(super) fn read_object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Problem::invalid("body", "The body is not UTF-8"))?;
    if !opens_object(text) {
        // Says where the JSON breaks, or that it is JSON of another kind.
        return Err(no_object(serde_json::from_str::<IgnoredAny>(text).err().as_ref()));
    }
    serde_json::from_str(text).map_err(|error| no_object(Some(&error)))
}

/// Whether the first byte that is no white space opens an object. A serde struct would take an
/// array as well.
pub(super) fn opens_object(text: &str) -> bool {
    text.bytes().find(|byte| !b" \t\r\n".contains(byte)) == Some(b'{')
}
