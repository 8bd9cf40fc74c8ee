//! The store's rows are what the log comes to.

use crate::books::Books;
use crate::books::order::OrderBook;
use crate::books::product::ProductBook;
use crate::ids::OrderId;
use crate::row::{OrderRow, ProductRow, Rows};
use crate::verdict::{Findings, Kind};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

pub(super) fn check(books: &Books, rows: &Rows, found: &mut Findings) {
    found.verdict.looked.rows = (rows.orders.len() + rows.products.len()) as u64;
    orders(books, rows, found);
    products(books, &rows.products, found);
}

fn orders(books: &Books, rows: &Rows, found: &mut Findings) {
    let set_aside: HashSet<OrderId> = rows.set_aside.iter().copied().collect();
    let mut by_id = HashMap::with_capacity(rows.orders.len());
    for row in &rows.orders {
        if set_aside.contains(&row.order) {
            let what = format!("the store has order {}, {}", row.order, row.status);
            found.add(Kind::ExtraRow, &[], &[], (what, "it was set aside".to_owned()));
        }
        if by_id.insert(row.order, row).is_some() {
            let what = format!("the store has order {} twice", row.order);
            found.add(Kind::ExtraRow, &[], &[], (what, "an order has one row".to_owned()));
        }
        if books.order(row.order).is_none() {
            let what = format!("the store has order {}, {}", row.order, row.status);
            found.add(Kind::ExtraRow, &[], &[], (what, "no event made it".to_owned()));
        }
    }
    for order in books.orders.iter().filter(|order| !set_aside.contains(&order.id)) {
        let expected = row_of_order(books, order);
        match by_id.get(&order.id) {
            None => {
                let what = format!("the store lacks order {}, {}", order.id, order.status());
                let why = format!("event {} made it", order.made);
                found.add(Kind::MissingRow, &[], &[order.made], (what, why));
            }
            Some(row) if **row != expected => {
                let (has, is) = differences(row, &expected);
                let what = format!("the row of order {} has {has}", order.id);
                let why = format!("by the log it is {is}");
                found.add(Kind::WrongRow, &[], &[order.made], (what, why));
            }
            Some(_) => {}
        }
    }
}

fn row_of_order(books: &Books, order: &OrderBook) -> OrderRow {
    OrderRow {
        order: order.id,
        product: books.products[order.product as usize].id,
        buyer: order.buyer,
        quantity: order.quantity,
        unit_price: order.unit_price,
        total_amount: order.unit_price.saturating_mul(u64::from(order.quantity)),
        currency: order.currency,
        status: order.status(),
        created_us: order.made_us,
        updated_us: order.updated_after(u64::MAX),
        expires_us: order.expires_after(u64::MAX),
    }
}

fn products(books: &Books, rows: &[ProductRow], found: &mut Findings) {
    let mut by_id = HashMap::with_capacity(rows.len());
    for row in rows {
        if by_id.insert(row.product, row).is_some() {
            let what = format!("the store has product {} twice", row.product);
            found.add(Kind::ExtraRow, &[], &[], (what, "a product has one row".to_owned()));
        }
        if books.product(row.product).is_none_or(|book| !book.is_defined) {
            let what = format!("the store has product {}", row.product);
            found.add(Kind::ExtraRow, &[], &[], (what, "no event defined it".to_owned()));
        }
    }
    for product in books.products.iter().filter(|product| product.is_defined) {
        let expected = row_of_product(product);
        match by_id.get(&product.id) {
            None => {
                let what = format!("the store lacks product {}", product.id);
                let why = format!("event {} defined it", product.first);
                found.add(Kind::MissingRow, &[], &[product.first], (what, why));
            }
            Some(row) if **row != expected => {
                let (has, is) = differences(row, &expected);
                let what = format!("the row of product {} has {has}", product.id);
                let why = format!("by the log it is {is}");
                found.add(Kind::WrongRow, &[], &[product.first], (what, why));
            }
            Some(_) => {}
        }
    }
}

fn row_of_product(product: &ProductBook) -> ProductRow {
    ProductRow {
        product: product.id,
        terms: product.terms,
        state: product.state,
        created_us: product.first_us,
        updated_us: product.changed_us,
    }
}

/// The fields in which two rows differ, as the one and as the other has them.
fn differences(has: &impl Serialize, is: &impl Serialize) -> (String, String) {
    let fields = |row: Result<Value, _>| match row {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (has, is) = (fields(serde_json::to_value(has)), fields(serde_json::to_value(is)));
    let those_of = |fields: &Map<String, Value>, others: &Map<String, Value>| {
        let differ = fields.iter().filter(|(name, value)| others.get(*name) != Some(value));
        differ.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    (those_of(&has, &is), those_of(&is, &has))
}
