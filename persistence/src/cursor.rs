//! Where a page ended, as opaque text that the next request brings back.
//!
//! Lists are newest first, by creation time and then id, so a cursor is the pair of the last row
//! seen: pages neither skip nor repeat a row that was there, whatever is inserted meanwhile. The
//! text is hexadecimal of `kind u8 · created_at u64 · id`; a cursor of one list is refused by
//! another. It is no secret and no authority: a forged one shows other pages of the same list.

use doorbuster_protocol::{OrderId, ProductId, Timestamp};
use std::fmt;
use std::str::FromStr;

const BYTES: usize = 1 + 8 + 16;
const KIND_ORDERS: u8 = 1;
const KIND_PRODUCTS: u8 = 2;

/// Text that is no cursor of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of this list: pass on what the page before gave, or leave it out")]
pub struct CursorError;

/// The last order of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderCursor {
    /// When it was made.
    pub created_at: Timestamp,
    /// The order.
    pub order: OrderId,
}

/// The last product of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductCursor {
    /// When it was first defined.
    pub created_at: Timestamp,
    /// The product.
    pub product: ProductId,
}

impl fmt::Display for OrderCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, KIND_ORDERS, self.created_at, self.order.as_bytes())
    }
}

impl FromStr for OrderCursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (created_at, id) = read(text, KIND_ORDERS)?;
        Ok(Self { created_at, order: OrderId::from_bytes(id) })
    }
}

impl fmt::Display for ProductCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, KIND_PRODUCTS, self.created_at, self.product.as_bytes())
    }
}

impl FromStr for ProductCursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (created_at, id) = read(text, KIND_PRODUCTS)?;
        Ok(Self { created_at, product: ProductId::from_bytes(id) })
    }
}

fn write(f: &mut fmt::Formatter<'_>, kind: u8, at: Timestamp, id: &[u8; 16]) -> fmt::Result {
    write!(f, "{kind:02x}{:016x}{:032x}", at.micros(), u128::from_be_bytes(*id))
}

fn read(text: &str, kind: u8) -> Result<(Timestamp, [u8; 16]), CursorError> {
    // `from_str_radix` would take a sign; a cursor has none.
    let is_ours = text.len() == 2 * BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_ours || u8::from_str_radix(&text[..2], 16) != Ok(kind) {
        return Err(CursorError);
    }
    let at = u64::from_str_radix(&text[2..18], 16).map_err(|_| CursorError)?;
    let id = u128::from_str_radix(&text[18..], 16).map_err(|_| CursorError)?;
    Ok((Timestamp::from_micros(at), id.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for (micros, byte) in [(0, 0), (1, 255), (u64::MAX, 7), (1_700_000_000_000_000, 0x80)] {
            let created_at = Timestamp::from_micros(micros);
            let orders = OrderCursor { created_at, order: OrderId::from_bytes([byte; 16]) };
            assert_eq!(orders.to_string().parse(), Ok(orders));
            let products = ProductCursor { created_at, product: ProductId::from_bytes([byte; 16]) };
            assert_eq!(products.to_string().parse(), Ok(products));
        }
    }

    #[test]
    fn what_is_no_cursor_of_the_list_is_refused() {
        let product = ProductCursor {
            created_at: Timestamp::from_micros(5),
            product: ProductId::from_bytes([9; 16]),
        };
        let text = product.to_string();
        let wide = "é".repeat(BYTES);
        let signed = format!("02+{}", &text[3..]);
        for bad in ["", "0", "zz", &text[1..], &text.replace('9', "g"), &wide, &signed] {
            assert_eq!(bad.parse::<ProductCursor>(), Err(CursorError), "{bad:?}");
        }
        assert_eq!(text.parse::<OrderCursor>(), Err(CursorError), "a cursor of another list");
    }
}
