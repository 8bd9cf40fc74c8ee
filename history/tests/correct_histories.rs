//! Sales that keep their promises are found clean, whatever happens on the way.
//!
//! `DOORBUSTER_SEED=…` plays one sale alone, `DOORBUSTER_HISTORIES=100000` plays more of them.

mod sale;

use doorbuster_history::answer::{Answer, Refusal};
use doorbuster_history::operation::{Ask, Change};
use doorbuster_history::verdict::Looked;
use std::collections::BTreeMap;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn sales_that_keep_their_promises_are_clean() {
    let count = number("DOORBUSTER_HISTORIES").unwrap_or(300);
    let seeds = number("DOORBUSTER_SEED").map_or(0..count, |seed| seed..seed + 1);
    let is_alone = seeds.end - seeds.start == 1;
    let mut refusals: BTreeMap<String, u64> = BTreeMap::new();
    let mut all = Looked::default();
    for seed in seeds {
        let history = sale::history(seed, 1_500);
        let verdict = doorbuster_history::check(&history, &sale::allowance());
        assert!(verdict.is_clean(), "DOORBUSTER_SEED={seed} plays it again\n{verdict}");
        all.orders += verdict.looked.orders;
        all.waited += verdict.looked.waited;
        all.replayed += verdict.looked.replayed;
        all.read += verdict.looked.read;
        all.unknown += verdict.looked.unknown;
        for operation in &history.operations {
            if let Answer::Refused(refusal) = &operation.answer {
                let word = match refusal {
                    Refusal::StockCommitted(_) => "stock-committed".to_owned(),
                    other => other.to_string(),
                };
                *refusals.entry(word).or_default() += 1;
            }
        }
    }
    eprintln!("{all:#?}\n{refusals:#?}");
    if is_alone {
        return;
    }
    // What never came up proves nothing.
    for (what, times) in [
        ("waited", all.waited),
        ("replayed", all.replayed),
        ("read", all.read),
        ("unknown", all.unknown),
    ] {
        assert!(times > 1_000, "{times} {what}");
    }
    for refusal in [
        "sold-out",
        "purchase-limit",
        "sale-not-open",
        "sale-paused",
        "sale-ended",
        "product-not-found",
        "order-not-found",
        "order-final (paid)",
        "order-final (cancelled)",
        "order-final (expired)",
        "order-queued",
        "idempotency-mismatch",
        "stock-committed",
        "definition-incomplete",
        "currency-fixed",
        "window-reversed",
    ] {
        let times = refusals.get(refusal).copied().unwrap_or(0);
        assert!(times >= 5, "{times} times {refusal}");
    }
}

/// An answer may fit two events, one of which nobody was told of. Which it was is not known, and what
/// was seen between them is no contradiction.
#[test]
fn what_may_have_been_one_of_two_events_tells_nothing_of_others() {
    let product = sale::product(sale::story::LAMP);
    let mut story = sale::story::Story::of_lamps(60, |_| {});
    story.wait(1);
    story.ask_unheard(Ask::Restock { product, units: 2 });
    story.ask(Ask::LookAtProduct { product });
    let change = Change { stock: Some(60), ..Change::default() };
    story.ask_unheard(Ask::Define { product, change });
    story.ask(Ask::Restock { product, units: 2 });
    let verdict = doorbuster_history::check(&story.history(), &sale::allowance());
    assert!(verdict.is_clean(), "{verdict}");
}

/// The clocks alone would let the second restock have made the first event, too.
#[test]
fn what_an_answer_shows_tells_between_events_that_look_the_same() {
    let product = sale::product(sale::story::LAMP);
    let mut story = sale::story::Story::of_lamps(60, |_| {});
    story.wait(1);
    story.ask_unheard(Ask::Restock { product, units: 2 });
    let change = Change { stock: Some(60), ..Change::default() };
    story.ask(Ask::Define { product, change });
    story.ask(Ask::Restock { product, units: 2 });
    let verdict = doorbuster_history::check(&story.history(), &sale::allowance());
    assert!(verdict.is_clean(), "{verdict}");
}
