//! The log as lines of JSON, as `doorbuster log dump --json` prints them.

use crate::event::{Event, Fact, Ordered, Released, Served, Standing};
use crate::ids::{BuyerId, KeyId, OrderId, Position, ProductId};
use crate::rfc3339;
use crate::terms::{Currency, SaleState, Terms};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::io::{self, BufRead};

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogLineError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line is no event.
    #[error("line {line} is no event: {source}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An event lacks something.
    #[error("line {line}, an event `{event}`, lacks `{field}`")]
    Lacks {
        /// The number of the line, from 1.
        line: usize,
        /// The kind of the event.
        event: String,
        /// What it lacks.
        field: &'static str,
    },
    /// An event that is not known.
    #[error("line {line} has an event `{event}`, which is not known")]
    Unknown {
        /// The number of the line, from 1.
        line: usize,
        /// The kind of the event.
        event: String,
    },
}

/// A time, as microseconds since the epoch; 0 for none.
#[derive(Clone, Copy, Debug, Default)]
struct Time(u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<Cow<'de, str>>::deserialize(deserializer)? {
            None => Ok(Self(0)),
            Some(text) => rfc3339::parse(&text)
                .map(Self)
                .ok_or_else(|| serde::de::Error::custom("a time is RFC 3339 in UTC")),
        }
    }
}

/// Every field that any event has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    partition: u16,
    sequence: u64,
    at: Time,
    event: String,
    order: Option<OrderId>,
    product: Option<ProductId>,
    buyer: Option<BuyerId>,
    key: Option<KeyId>,
    #[serde(default)]
    has_key: bool,
    quantity: Option<u32>,
    unit_price: Option<u64>,
    currency: Option<Currency>,
    waitlist: Option<bool>,
    #[serde(default)]
    expires_at: Time,
    position: Option<u32>,
    served: Option<Vec<OrderId>>,
    #[serde(default)]
    served_until: Time,
    price: Option<u64>,
    stock: Option<u32>,
    #[serde(default)]
    opens_at: Time,
    #[serde(default)]
    closes_at: Time,
    limit_per_user: Option<u32>,
    hold_seconds: Option<u32>,
    waitlist_capacity: Option<u32>,
    units: Option<u32>,
    state: Option<SaleState>,
    consumer: Option<u8>,
    through: Option<u64>,
}

/// Every event, in the order of the lines.
pub fn read(from: impl BufRead) -> Result<Vec<Event>, LogLineError> {
    let mut events = Vec::new();
    for (index, line) in from.split(b'\n').enumerate() {
        let line = line?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let number = index + 1;
        let raw: Raw = serde_json::from_slice(&line)
            .map_err(|source| LogLineError::Line { line: number, source })?;
        events.push(raw.event(number)?);
    }
    Ok(events)
}

impl Raw {
    fn event(self, line: usize) -> Result<Event, LogLineError> {
        let position = Position { partition: self.partition, sequence: self.sequence };
        let at_us = self.at.0;
        let fact = match self.fact() {
            Ok(Some(fact)) => fact,
            Ok(None) => return Err(LogLineError::Unknown { line, event: self.event }),
            Err(field) => return Err(LogLineError::Lacks { line, event: self.event, field }),
        };
        Ok(Event { position, at_us, fact })
    }

    /// The fact, `None` for a kind that is not known, the name of what is missing as the error.
    fn fact(&self) -> Result<Option<Fact>, &'static str> {
        let product = || self.product.ok_or("product");
        let units = || self.units.ok_or("units");
        Ok(Some(match self.event.as_str() {
            "placed" => Fact::Ordered(self.ordered(
                self.waitlist.ok_or("waitlist")?,
                Standing::Held { expires_us: self.expires_at.0 },
            )?),
            "queued" => {
                let position = self.position.ok_or("position")?;
                Fact::Ordered(self.ordered(true, Standing::Waiting { position })?)
            }
            "paid" => Fact::Paid {
                order: self.order.ok_or("order")?,
                product: product()?,
                quantity: self.quantity.ok_or("quantity")?,
            },
            "cancelled" => Fact::Cancelled(self.released()?),
            "expired" => Fact::Expired(self.released()?),
            "defined" => {
                Fact::Defined { product: product()?, terms: self.terms()?, served: self.served()? }
            }
            "restocked" => {
                Fact::Restocked { product: product()?, units: units()?, served: self.served()? }
            }
            "withdrawn" => Fact::Withdrawn { product: product()?, units: units()? },
            "state-set" => {
                Fact::StateSet { product: product()?, state: self.state.ok_or("state")? }
            }
            "acknowledged" => Fact::Acknowledged {
                consumer: self.consumer.ok_or("consumer")?,
                through: self.through.ok_or("through")?,
            },
            _ => return Ok(None),
        }))
    }

    fn ordered(&self, waitlist: bool, standing: Standing) -> Result<Ordered, &'static str> {
        if self.has_key && self.key.is_none() {
            return Err("key");
        }
        Ok(Ordered {
            order: self.order.ok_or("order")?,
            product: self.product.ok_or("product")?,
            buyer: self.buyer.ok_or("buyer")?,
            key: self.key,
            quantity: self.quantity.ok_or("quantity")?,
            unit_price: self.unit_price.ok_or("unitPrice")?,
            currency: self.currency.ok_or("currency")?,
            waitlist,
            standing,
        })
    }

    fn released(&self) -> Result<Released, &'static str> {
        Ok(Released {
            order: self.order.ok_or("order")?,
            product: self.product.ok_or("product")?,
            quantity: self.quantity.ok_or("quantity")?,
            served: self.served()?,
        })
    }

    fn served(&self) -> Result<Served, &'static str> {
        let orders = self.served.clone().unwrap_or_default();
        let expires_us = self.served_until.0;
        if !orders.is_empty() && expires_us == 0 {
            return Err("servedUntil");
        }
        Ok(Served { orders, expires_us })
    }

    fn terms(&self) -> Result<Terms, &'static str> {
        Ok(Terms {
            price: self.price.ok_or("price")?,
            currency: self.currency.ok_or("currency")?,
            stock: self.stock.ok_or("stock")?,
            opens_us: self.opens_at.0,
            closes_us: self.closes_at.0,
            limit_per_buyer: self.limit_per_user.ok_or("limitPerUser")?,
            hold_seconds: self.hold_seconds.ok_or("holdSeconds")?,
            waitlist_capacity: self.waitlist_capacity.ok_or("waitlistCapacity")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = "018bcfe5-6800-8003-8000-0000000000ab";
    const HEAD: &str = r#""partition":3,"sequence":7,"at":"2024-02-29T23:59:59.999Z","product":"00000000-0000-0000-0000-000000000001""#;

    fn one(rest: &str) -> Result<Event, LogLineError> {
        let line = format!("{{{HEAD},{rest}}}\n\n");
        read(line.as_bytes()).map(|mut events| events.remove(0))
    }

    #[test]
    fn events_are_read() {
        let rest = format!(
            r#""event":"expired","order":"{ORDER}","quantity":2,"served":["{ORDER}"],"servedUntil":"2024-03-01T00:00:00Z""#
        );
        let event = one(&rest).expect("an event");
        let order = ORDER.parse().expect("an order");
        assert_eq!(event.position, Position { partition: 3, sequence: 7 });
        assert_eq!(event.at_us, 1_709_251_199_999_000);
        let served = Served { orders: vec![order], expires_us: 1_709_251_200_000_000 };
        let product = ProductId::new(1);
        assert_eq!(event.fact, Fact::Expired(Released { order, product, quantity: 2, served }));

        let rest = r#""event":"defined","served":null,"price":5,"currency":"USD","stock":9,"opensAt":null,"closesAt":"2024-03-01T00:00:00Z","limitPerUser":0,"holdSeconds":4,"waitlistCapacity":3"#;
        let event = one(rest).expect("an event");
        let Fact::Defined { terms, served, .. } = event.fact else { panic!("{event:?}") };
        assert_eq!((terms.opens_us, terms.closes_us), (0, 1_709_251_200_000_000));
        assert_eq!((terms.stock, served), (9, Served::default()));

        let rest = r#""event":"state-set","state":"paused""#;
        let fact = Fact::StateSet { product, state: SaleState::Paused };
        assert_eq!(one(rest).expect("an event").fact, fact);
    }

    #[test]
    fn what_is_missing_is_named() {
        let placed = format!(
            r#""event":"placed","order":"{ORDER}","buyer":"{ORDER}","quantity":1,"unitPrice":1,"currency":"USD","waitlist":false,"hasKey":true"#
        );
        let check = |rest: &str, want: &str| {
            let error = one(rest).expect_err("no event").to_string();
            assert!(error.contains(want), "{error}");
        };
        check(&placed, "`key`");
        check(r#""event":"paid""#, "`order`");
        check(r#""event":"refunded""#, "`refunded`");
        check(r#""event":"withdrawn","units":-1"#, "line 1");
        check(&format!(r#""event":"restocked","units":1,"served":["{ORDER}"]"#), "`servedUntil`");
    }
}
