//! A pushed level answers for a product that nobody can order; anything else asks the engine.

use super::fake_engine::Reaction;
use super::shop::{Shop, level, order_view};
use doorbuster_protocol::Outcome;
use doorbuster_protocol::outcome::OrderStatus;

const FLASH: &str = "/orders/flash-sale/shoe";
const ONE: Option<&str> = Some(r#"{"quantity": 1}"#);

#[test]
fn the_flag_is_set_and_cleared_by_the_engine() {
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    let shop = Shop::open(move |_| Reaction::Answer(placed));
    assert_eq!(shop.ask("POST", FLASH, "ann", ONE).status, 201, "no level is known yet");

    shop.engine.push(level("shoe", 0, false));
    shop.wait(|shop| shop.ask("POST", FLASH, "ann", ONE).status == 409);
    let asked = shop.engine.asked().len();
    let refused = shop.ask("POST", FLASH, "ann", ONE);
    assert_eq!((refused.status, refused.code()), (409, "sold-out".to_owned()));
    let items = Some(r#"{"items": [{"productId": "shoe", "quantity": 1}]}"#);
    assert_eq!(shop.ask("POST", "/orders", "ann", items).status, 409);
    assert_eq!(shop.engine.asked().len(), asked, "the engine was not asked");
    assert!(shop.rejected("sold-out") >= 3);

    // A key may have an earlier answer, so it is asked for.
    let key = [("idempotency-key", "k")];
    assert_eq!(shop.ask_with("POST", FLASH, "ann", &key, ONE).status, 201);
    // A bad request is bad before it is sold out.
    assert_eq!(shop.ask("POST", FLASH, "ann", Some("{}")).status, 400);
    // Other products are not concerned.
    assert_eq!(shop.ask("POST", "/orders/flash-sale/hat", "ann", ONE).status, 201);

    shop.engine.push(level("shoe", 1, true));
    shop.wait(|shop| shop.ask("POST", FLASH, "ann", ONE).status == 201);
}

#[test]
fn a_waitlist_with_room_is_asked() {
    let shop = Shop::answering(Outcome::Queued(order_view(OrderStatus::Queued)));
    shop.store.products.lock().unwrap().clear();
    shop.engine.push(level("shoe", 0, true));
    let waiting = Some(r#"{"quantity": 1, "waitlist": true}"#);
    assert_eq!(shop.ask("POST", FLASH, "ann", waiting).status, 202);
}

#[test]
fn a_lost_core_clears_its_flags() {
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    let shop = Shop::open(move |_| Reaction::Answer(placed));
    shop.engine.push(level("shoe", 0, false));
    shop.wait(|shop| shop.ask("POST", FLASH, "ann", ONE).status == 409);
    (0..2).for_each(|core| shop.engine.cut(core));
    shop.wait(|shop| shop.ask("POST", FLASH, "ann", ONE).status == 201);
}
