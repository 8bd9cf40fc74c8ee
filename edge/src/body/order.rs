//! The bodies of orders. Fields that are not known here are ignored: clients of a sale send more
//! than a server needs.

use super::scalar::{Scalar, opens_object, read_object};
use crate::limits::ORDER_LINES_MAX;
use crate::problem::{Code, Problem};
use doorbuster_protocol::{ProductId, Quantity, limits};
use serde::Deserialize;

/// What an order asks for, in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrderBody {
    /// What.
    pub(crate) product: ProductId,
    /// How many.
    pub(crate) quantity: Quantity,
    /// Whether to queue up when it is sold out.
    pub(crate) waitlist: bool,
}

#[derive(Deserialize)]
struct RawOrder<'a> {
    #[serde(borrow, default)]
    quantity: Option<Scalar<'a>>,
    #[serde(borrow, default, rename = "productId")]
    product: Option<Scalar<'a>>,
    #[serde(borrow, default)]
    waitlist: Option<Scalar<'a>>,
}

/// Reads the body of `POST /orders/flash-sale/{product}`. A product that it names must be that of
/// the path.
pub(crate) fn parse_flash_sale(bytes: &[u8], product: ProductId) -> Result<OrderBody, Problem> {
    let raw: RawOrder<'_> = read_object(bytes)?;
    let named = raw.product.as_ref().filter(|named| !named.is_null());
    if let Some(named) = named
        && parse_product(named, "productId")? != product
    {
        return Err(Problem::invalid(
            "productId",
            "`productId` names another product than the path. Leave it out, or make them agree",
        ));
    }
    Ok(OrderBody {
        product,
        quantity: parse_quantity(raw.quantity.as_ref(), "quantity")?,
        waitlist: parse_waitlist(raw.waitlist.as_ref())?,
    })
}

#[derive(Deserialize)]
struct RawOrderOfItems<'a> {
    #[serde(borrow, default)]
    items: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    waitlist: Option<Scalar<'a>>,
}

/// Reads the body of `POST /orders`. Lines of one product are summed; more than one product is
/// [`Code::Unsupported`].
pub(crate) fn parse_items(bytes: &[u8]) -> Result<OrderBody, Problem> {
    let raw: RawOrderOfItems<'_> = read_object(bytes)?;
    let waitlist = parse_waitlist(raw.waitlist.as_ref())?;
    let no_list = || {
        Problem::invalid(
            "items",
            "`items` must be a list of lines such as {\"productId\": \"…\", \"quantity\": 1}",
        )
    };
    let items = raw.items.ok_or_else(no_list)?.get();
    let lines: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(items).map_err(|_| no_list())?;
    if lines.is_empty() || lines.len() > ORDER_LINES_MAX {
        let detail = format!("`items` must have 1 to {ORDER_LINES_MAX} lines");
        return Err(Problem::invalid("items", detail));
    }
    let mut first: Option<(ProductId, u32)> = None;
    let mut products = false;
    for (index, line) in lines.iter().enumerate() {
        let (product, quantity) = parse_line(line.get(), index)?;
        match &mut first {
            None => first = Some((product, quantity.get())),
            Some((same, units)) if *same == product => *units += quantity.get(),
            Some(_) => products = true,
        }
    }
    if products {
        return Err(Problem::new(
            Code::Unsupported,
            "An order takes one product for now. Send an order for each product",
        ));
    }
    let (product, units) = first.ok_or_else(no_list)?;
    let quantity = Quantity::new(units).ok_or_else(|| {
        let most = limits::QUANTITY_MAX;
        Problem::invalid("items", format!("The lines ask for {units} units; {most} are the most"))
    })?;
    Ok(OrderBody { product, quantity, waitlist })
}

fn parse_line(line: &str, index: usize) -> Result<(ProductId, Quantity), Problem> {
    if !opens_object(line) {
        let field = format!("items[{index}]");
        let detail = format!("`{field}` must be an object with `productId` and `quantity`");
        return Err(Problem::invalid(field, detail));
    }
    let raw: RawOrder<'_> = read_object(line.as_bytes())?;
    let field = format!("items[{index}].productId");
    let product = raw.product.as_ref().filter(|product| !product.is_null());
    let product = product.ok_or_else(|| {
        Problem::invalid(field.clone(), format!("`{field}` is missing: name the product to buy"))
    })?;
    let product = parse_product(product, &field)?;
    Ok((product, parse_quantity(raw.quantity.as_ref(), &format!("items[{index}].quantity"))?))
}

fn parse_quantity(raw: Option<&Scalar<'_>>, field: &str) -> Result<Quantity, Problem> {
    let most = u64::from(limits::QUANTITY_MAX);
    let units = raw.unwrap_or(&Scalar::Null).number(field, 1, most)?;
    Ok(Quantity::new(units as u32).expect("the range was checked"))
}

fn parse_waitlist(raw: Option<&Scalar<'_>>) -> Result<bool, Problem> {
    match raw {
        None | Some(Scalar::Null) => Ok(false),
        Some(value) => value.flag("waitlist"),
    }
}

fn parse_product(raw: &Scalar<'_>, field: &str) -> Result<ProductId, Problem> {
    ProductId::parse(raw.text(field)?).map_err(|error| {
        Problem::invalid(
            field.to_owned(),
            format!("`{field}` is neither a UUID nor a name: {error}"),
        )
    })
}

#[cfg(test)]
#[path = "order_test.rs"]
mod tests;
