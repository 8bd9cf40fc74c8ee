//! The bodies of orders and products, against a second reading of the same bytes through
//! `serde_json`'s own values: both take the same bodies, with the same meaning, and a refusal is a
//! problem document.

use crate::Seed;
use doorbuster_edge::fuzzing::{self, Definition, Order, Refused};
use doorbuster_edge::time::parse_rfc3339;
use doorbuster_protocol::command::{Define, SaleState};
use doorbuster_protocol::{Currency, ProductId, Timestamp, limits};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// What bodies are made of.
pub const WORDS: &[&str] = &[
    "\"quantity\"",
    "\"productId\"",
    "\"items\"",
    "\"waitlist\"",
    "\"price\"",
    "\"currency\"",
    "\"stock\"",
    "\"opensAt\"",
    "\"closesAt\"",
    "\"limitPerUser\"",
    "\"holdSeconds\"",
    "\"waitlistCapacity\"",
    "\"name\"",
    "\"description\"",
    "\"add\"",
    "\"withdraw\"",
    "\"state\"",
    "\"paused\"",
    "\"shoe\"",
    "\"USD\"",
    "\"2030-06-01T10:00:00Z\"",
    "null",
    "true",
    "1000",
    "1e3",
    "\\u0041",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
];

/// One input: which body, then its bytes.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let product = ProductId::parse("shoe").expect("a name");
    match kind % 5 {
        0 => compare(bytes, fuzzing::flash_sale_order(bytes, product), |fields| {
            flash_sale_order(fields, product)
        }),
        1 => compare(bytes, fuzzing::order_of_items(bytes), order_of_items),
        2 => compare(bytes, fuzzing::definition(bytes, product), |fields| {
            definition(fields, product)
        }),
        3 => compare(bytes, fuzzing::inventory(bytes), inventory),
        _ => compare(bytes, fuzzing::state(bytes), state),
    }
}

fn compare<T: PartialEq + fmt::Debug>(
    bytes: &[u8],
    taken: Result<T, Refused>,
    reference: impl FnOnce(&Fields<'_>) -> Option<T>,
) {
    if let Err(document) = &taken {
        let document: Value = serde_json::from_slice(document).expect("a refusal is JSON");
        let is_problem = document["status"].as_u64().is_some_and(|status| status >= 400)
            && document["detail"].as_str().is_some_and(|detail| !detail.is_empty());
        assert!(is_problem, "a refusal is a problem document: {document}");
    }
    let text = std::str::from_utf8(bytes).ok();
    let fields = text.and_then(|text| serde_json::from_str::<Fields<'_>>(text).ok());
    let expected = fields.as_ref().and_then(reference);
    assert_eq!(taken.ok(), expected, "both readings agree");
}

/// The fields of an object in order, their values as they stand there.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Fields(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A field's value: `None` when it stands twice, or cannot be read where it matters.
type Field = Option<Value>;

impl Fields<'_> {
    /// The value of a field, null when it is not there. Lists and objects come without content.
    fn get(&self, name: &str) -> Field {
        let mut found = self.0.iter().filter(|(field, _)| field == name);
        let Some((_, raw)) = found.next() else { return Some(Value::Null) };
        if found.next().is_some() {
            return None;
        }
        match raw.get().as_bytes().first() {
            Some(b'[') => Some(Value::Array(Vec::new())),
            // The names in an object are read, even where it is ignored.
            Some(b'{') => {
                serde_json::from_str::<Fields<'_>>(raw.get()).ok()?;
                Some(Value::Object(serde_json::Map::new()))
            }
            _ => serde_json::from_str(raw.get()).ok(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// Whether every field is one of these, and stands there once.
    fn are_only(&self, names: &[&str]) -> bool {
        self.0.iter().all(|(field, _)| names.contains(&field.as_str()))
            && names.iter().all(|name| self.0.iter().filter(|(field, _)| field == name).count() < 2)
    }

    fn number(&self, name: &str, least: u64, most: u64) -> Option<u64> {
        self.get(name)?.as_u64().filter(|number| (least..=most).contains(number))
    }

    /// A number that may be left out.
    fn option(&self, name: &str, least: u64, most: u64) -> Option<Option<u64>> {
        if self.has(name) { self.number(name, least, most).map(Some) } else { Some(None) }
    }

    fn words(&self, name: &str, least: usize, most: usize) -> Option<Option<String>> {
        if !self.has(name) {
            return Some(None);
        }
        let text = self.get(name)?.as_str()?.to_owned();
        let is_sound = (least..=most).contains(&text.len()) && !text.contains('\0');
        is_sound.then_some(Some(text))
    }

    fn time(&self, name: &str) -> Option<Option<Timestamp>> {
        if !self.has(name) {
            return Some(None);
        }
        match self.get(name)? {
            Value::Null => Some(Some(Timestamp::NONE)),
            Value::String(text) => parse_rfc3339(&text).map(Some),
            _ => None,
        }
    }
}

fn flag(value: &Value) -> Option<bool> {
    if value.is_null() { Some(false) } else { value.as_bool() }
}

fn quantity(fields: &Fields<'_>) -> Option<u32> {
    fields.number("quantity", 1, u64::from(limits::QUANTITY_MAX)).map(|units| units as u32)
}

fn flash_sale_order(fields: &Fields<'_>, product: ProductId) -> Option<Order> {
    let named = fields.get("productId")?;
    let is_same = named.is_null() || ProductId::parse(named.as_str()?).ok()? == product;
    let order = (product, quantity(fields)?, flag(&fields.get("waitlist")?)?);
    is_same.then_some(order)
}

fn order_of_items(fields: &Fields<'_>) -> Option<Order> {
    let waitlist = flag(&fields.get("waitlist")?)?;
    fields.get("items")?.as_array()?;
    let (_, items) = fields.0.iter().find(|(field, _)| field == "items")?;
    let lines: Vec<&RawValue> = serde_json::from_str(items.get()).ok()?;
    let lines: Vec<Fields<'_>> =
        lines.iter().map(|line| serde_json::from_str(line.get()).ok()).collect::<Option<_>>()?;
    let mut units = 0;
    let mut products = Vec::new();
    for line in &lines {
        // It says nothing in a line, and must be readable all the same.
        line.get("waitlist")?;
        products.push(ProductId::parse(line.get("productId")?.as_str()?).ok()?);
        units += quantity(line)?;
    }
    let product = *products.first()?;
    let is_taken = lines.len() <= 100
        && products.iter().all(|other| *other == product)
        && units <= limits::QUANTITY_MAX;
    is_taken.then_some((product, units, waitlist))
}

fn definition(fields: &Fields<'_>, product: ProductId) -> Option<Definition> {
    const NAMES: [&str; 10] = [
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
    ];
    let stock_max = u64::from(limits::STOCK_MAX);
    let small = |number: Option<u64>| number.map(|number| number as u32);
    let currency = match fields.has("currency") {
        true => Some(Currency::parse(fields.get("currency")?.as_str()?)?),
        false => None,
    };
    let limit_per_buyer = match fields.get("limitPerUser")? {
        Value::Null if fields.has("limitPerUser") => Some(0),
        _ => small(fields.option("limitPerUser", 0, stock_max)?),
    };
    let terms = Define {
        product,
        price: fields.option("price", 0, limits::PRICE_MAX)?,
        currency,
        stock: small(fields.option("stock", 0, stock_max)?),
        opens_at: fields.time("opensAt")?,
        closes_at: fields.time("closesAt")?,
        limit_per_buyer,
        hold_seconds: small(fields.option("holdSeconds", 1, limits::HOLD_SECONDS_MAX.into())?),
        waitlist_capacity: small(fields.option(
            "waitlistCapacity",
            0,
            limits::WAITLIST_MAX.into(),
        )?),
    };
    let (name, description) =
        (fields.words("name", 1, 200)?, fields.words("description", 0, 8192)?);
    assert_eq!(terms.check(), Ok(()), "what is taken can be decided");
    fields.are_only(&NAMES).then_some((terms, name, description))
}

fn inventory(fields: &Fields<'_>) -> Option<i64> {
    let most = u64::from(limits::STOCK_MAX);
    let change = match fields.0.as_slice() {
        [(field, _)] if field == "add" => fields.number("add", 1, most)? as i64,
        [(field, _)] if field == "withdraw" => -(fields.number("withdraw", 1, most)? as i64),
        _ => return None,
    };
    Some(change)
}

fn state(fields: &Fields<'_>) -> Option<SaleState> {
    let state = match fields.get("state")?.as_str()? {
        "open" => SaleState::Open,
        "paused" => SaleState::Paused,
        _ => return None,
    };
    fields.are_only(&["state"]).then_some(state)
}

/// Bodies as clients send them, and some that are wrong.
pub fn seeds() -> Vec<Seed> {
    const BODIES: [(u8, &str); 22] = [
        (0, r#"{"quantity": 1}"#),
        (0, "\r\n\t {\"quantity\":1000}\n"),
        (0, r#"{"quantity": 2, "waitlist": true, "productId": "shoe"}"#),
        (0, r#"{"productId": "\u0073hoe", "quantity": 3, "waitlist": null}"#),
        (0, r#"{"quantity": 1, "userId": 7, "nested": {"a": [1, {}]}, "note": "x"}"#),
        (0, r#"{"quantity": 1, "quantity": 2}"#),
        (0, r#"{"quantity": 1e400}"#),
        (0, r#"{"quantity": 1, "note": "\ud800", "x": 1e999}"#),
        (0, r#"[1, "shoe", true]"#),
        (0, "\u{feff}{\"quantity\": 1}"),
        (1, r#"{"items": [{"productId": "shoe", "quantity": 2}], "waitlist": true}"#),
        (1, r#"{"items": [{"productId": "a", "quantity": 1}, {"productId": "a", "quantity": 2}]}"#),
        (1, r#"{"items": [{"productId": "a", "quantity": 1}, {"productId": "b", "quantity": 2}]}"#),
        (1, r#"{"items": [["shoe", 1]]}"#),
        (2, r#"{"name": "Shoe", "price": 1999, "currency": "USD", "stock": 10}"#),
        (2, r#"{"opensAt": "2030-06-01T10:00:00+02:00", "closesAt": null, "limitPerUser": null}"#),
        (2, r#"{"holdSeconds": 600, "waitlistCapacity": 65536, "description": ""}"#),
        (2, r#"{"prise": 1}"#),
        (3, r#"{"add": 5}"#),
        (3, r#"{"withdraw": 1000000000}"#),
        (4, r#"{"state": "paused"}"#),
        (4, r#"{"state": "open"}"#),
    ];
    let seed = |(number, (kind, body)): (usize, &(u8, &str))| {
        (format!("body-{number}"), [&[*kind], body.as_bytes()].concat())
    };
    BODIES.iter().enumerate().map(seed).collect()
}
