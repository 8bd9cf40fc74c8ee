//! The planner answers each question with an index, over tables that are worth one.

use crate::{Way, claimed, options};
use doorbuster_persistence::postgres::queries;
use doorbuster_postgres_harness::Clusters;
use tokio_postgres::types::Type;

/// 20 buyers, 20 000 orders, 40 000 items, 5 000 products, in no order of time; all statistics.
const FILL: &str = "
    INSERT INTO products (id, name, price, currency, inventory, state, limit_per_user, hold_seconds,
            waitlist_capacity, created_at, updated_at, version)
        SELECT md5('p' || n)::uuid, 'product ' || n, 100, 'USD', 5, 'open', 0, 600, 0,
            '2026-01-01'::timestamptz + n * 7919 % 5000 * interval '1 s', now(), 1
        FROM generate_series(1, 5000) n;
    INSERT INTO orders (id, user_id, total_amount, currency, status, created_at, updated_at, version)
        SELECT md5('o' || n)::uuid, md5('u' || n % 20)::uuid, 100, 'USD', 'paid',
            '2026-01-01'::timestamptz + n * 7919 % 20000 * interval '1 s', now(), n
        FROM generate_series(1, 20000) n;
    INSERT INTO order_items (order_id, line, product_id, quantity, price, created_at)
        SELECT md5('o' || n)::uuid, line, md5('p' || n % 5000 + 1)::uuid, 1, 50, now()
        FROM generate_series(1, 20000) n, generate_series(0, 1) line;
    VACUUM ANALYZE products, orders, order_items";

/// A value of a parameter: its place among those of its query says what it is.
fn value(query: &queries::Query, number: usize, limit: u32) -> String {
    let id = match query.name {
        name if name.contains("of a buyer") && number == 0 => "md5('u7')::uuid",
        name if name.contains("order") => "md5('o7')::uuid",
        _ => "md5('p7')::uuid",
    };
    match query.types[number] {
        Type::UUID => id.to_owned(),
        Type::INT8 => (limit + 1).to_string(),
        Type::TIMESTAMPTZ => "'2026-01-01 01:00'::timestamptz".to_owned(),
        ref other => panic!("{}: no value of type {other}", query.name),
    }
}

#[tokio::test]
async fn every_question_of_the_edge_is_answered_by_an_index() {
    let databases = Clusters::shared().databases(1);
    drop(claimed(&options(&databases, Way::Direct)).await);
    for statement in FILL.split(';') {
        databases[0].psql(statement);
    }
    for query in queries::ALL {
        for limit in [1, 50, 100] {
            let types: Vec<_> = query.types.iter().map(Type::name).collect();
            let values: Vec<_> =
                (0..query.types.len()).map(|number| value(query, number, limit)).collect();
            // As the edge asks: planned for the values of this one question.
            let plan = databases[0].psql(&format!(
                "PREPARE asked ({}) AS {}; EXPLAIN (ANALYZE, COSTS OFF) EXECUTE asked ({})",
                types.join(", "),
                query.sql(),
                values.join(", "),
            ));
            let what = format!("{}, limit {limit}:\n{plan}", query.name);
            for table in ["orders", "order_items", "products"] {
                assert!(!plan.contains(&format!("Seq Scan on {table}")), "{what}");
            }
            assert!(plan.contains("Index"), "{what}");
            assert!(!plan.contains("created_at DESC"), "rows are sorted by hand: {what}");
            assert!(!plan.contains("(never executed)"), "the values find something: {what}");
        }
    }
}
