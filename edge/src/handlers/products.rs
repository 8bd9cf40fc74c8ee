//! Products: read by anyone, made and changed by administrators. Stock and terms are the engine's,
//! name and description the catalog's.

use super::{PAGE_ROWS_MAX, page, parameter};
use crate::body::product::{InventoryBody, parse_definition, parse_inventory, parse_state};
use crate::limits::FLASH_SALE_PAGES_MAX;
use crate::middleware::authentication::require_admin;
use crate::problem::{Code, Problem};
use crate::render::{self, Live, Words};
use crate::service::{Answer, Call};
use doorbuster_persistence::{CatalogEntry, ProductCursor, ProductRow};
use doorbuster_protocol::command::{Ask, Command, Define, Read};
use doorbuster_protocol::outcome::ProductView;
use doorbuster_protocol::{Outcome, ProductId};
use hyper::StatusCode;

/// The product that a path names.
pub(crate) fn parse_product(call: &Call<'_>, segment: &str) -> Result<ProductId, Problem> {
    let names = &call.worker.names;
    names
        .parse(&parameter(segment, "product")?)
        .map_err(|error| Problem::invalid("product", format!("The path names no product: {error}")))
}

/// `GET /products/{product}`
pub(crate) async fn read(call: &Call<'_>, product: &str) -> Result<Answer, Problem> {
    let product = parse_product(call, product)?;
    let view = read_live(call, product).await?;
    Ok(describe(call, StatusCode::OK, &view).await)
}

async fn read_live(call: &Call<'_>, product: ProductId) -> Result<ProductView, Problem> {
    let partition = call.partition_of(product)?;
    match call.ask(partition, Ask::Read(Read::Product { product })).await? {
        Outcome::Product(view) => Ok(view),
        refused => Err(call.refuse(&refused)),
    }
}

/// The product's document with what the catalog calls it. Words are not worth failing for: without
/// the store the rest is still exact.
async fn describe(call: &Call<'_>, status: StatusCode, view: &ProductView) -> Answer {
    let entry = call.query(call.worker.store.catalog(view.product)).await.ok().flatten();
    let words = entry.as_ref().map_or(Words::default(), |entry| Words {
        name: entry.name.as_deref(),
        description: entry.description.as_deref(),
    });
    Answer::with(status, render::product(view, words))
}

/// `PUT /products/{product}`
pub(crate) async fn define(call: &Call<'_>, segment: &str) -> Result<Answer, Problem> {
    require_admin(&call.identify()?)?;
    let product = parse_product(call, segment)?;
    let body = parse_definition(&call.json_body().await?, product)?;
    let partition = call.partition_of(product)?;
    // Both questions leave in one frame, and the engine takes them in order.
    let before = call.ask(partition, Ask::Read(Read::Product { product }));
    let after = call.ask(partition, Ask::Command(Command::Define(body.terms)));
    let is_new = before.await? == Outcome::ProductNotFound;
    let view = match after.await? {
        Outcome::Product(view) => view,
        Outcome::DefinitionIncomplete => return Err(incomplete(&body.terms)),
        refused => return Err(call.refuse(&refused)),
    };
    let stored = call.query(call.worker.store.catalog(product)).await;
    let is_nameless = match &stored {
        Ok(entry) => entry.as_ref().is_none_or(|entry| entry.name.is_none()),
        Err(_) => is_new,
    };
    let name = body.name.or_else(|| {
        // A product that was made by name is called by it until somebody says otherwise.
        let name = parameter(segment, "product").ok()?.into_owned();
        (is_nameless && name != product.to_string()).then_some(name)
    });
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    if name.is_some() || body.description.is_some() {
        let entry =
            CatalogEntry { product, name: name.clone(), description: body.description.clone() };
        call.query(call.worker.store.put_catalog(entry)).await.map_err(|_| words_in_doubt())?;
    }
    let (stored_name, stored_description) =
        stored.ok().flatten().map_or((None, None), |entry| (entry.name, entry.description));
    let (name, description) = (name.or(stored_name), body.description.or(stored_description));
    let words = Words { name: name.as_deref(), description: description.as_deref() };
    Ok(Answer::with(status, render::product(&view, words)))
}

/// The engine has taken the terms, and the store may not have taken the words.
fn words_in_doubt() -> Problem {
    let detail = "The product's terms are set and in force, but its name and description may not \
                  be: the store did not answer. Send the same again";
    Problem::new(Code::Unavailable, detail).retry_after(1)
}

fn incomplete(terms: &Define) -> Problem {
    let field = if terms.price.is_none() { "price" } else { "stock" };
    Problem::invalid(
        field,
        format!("A new product needs `price` and `stock`; `{field}` is missing"),
    )
}

/// `PUT /products/{product}/inventory`
pub(crate) async fn change_inventory(call: &Call<'_>, product: &str) -> Result<Answer, Problem> {
    require_admin(&call.identify()?)?;
    let product = parse_product(call, product)?;
    let command = match parse_inventory(&call.json_body().await?)? {
        InventoryBody::Add(units) => Command::Restock { product, units },
        InventoryBody::Withdraw(units) => Command::Withdraw { product, units },
    };
    change(call, product, command).await
}

/// `PUT /products/{product}/state`
pub(crate) async fn change_state(call: &Call<'_>, product: &str) -> Result<Answer, Problem> {
    require_admin(&call.identify()?)?;
    let product = parse_product(call, product)?;
    let state = parse_state(&call.json_body().await?)?;
    change(call, product, Command::SetState { product, state }).await
}

async fn change(call: &Call<'_>, product: ProductId, command: Command) -> Result<Answer, Problem> {
    let partition = call.partition_of(product)?;
    match call.ask(partition, Ask::Command(command)).await? {
        Outcome::Product(view) => Ok(describe(call, StatusCode::OK, &view).await),
        Outcome::StockTooLarge => Err(Problem::invalid(
            "add",
            format!(
                "With these units the product would have more than {}, the most that it can",
                doorbuster_protocol::limits::STOCK_MAX
            ),
        )),
        refused => Err(call.refuse(&refused)),
    }
}

/// `GET /products`
pub(crate) async fn list(call: &Call<'_>) -> Result<Answer, Problem> {
    let (limit, cursor) = page(call)?;
    let found = call.query(call.worker.store.products(cursor, limit)).await?;
    let next = found.next.map(|cursor| cursor.to_string());
    Ok(Answer::ok(render::products(&with_live(call, found.rows).await, next)))
}

/// `GET /products/flash-sale`: sales that run or will, in the order of the catalog.
pub(crate) async fn list_flash_sale(call: &Call<'_>) -> Result<Answer, Problem> {
    let (limit, mut cursor) = page::<ProductCursor>(call)?;
    let limit = limit as usize;
    let mut rows = Vec::new();
    for _ in 0..FLASH_SALE_PAGES_MAX {
        let found = call.query(call.worker.store.products(cursor, PAGE_ROWS_MAX)).await?;
        cursor = found.next;
        let mut running = found
            .rows
            .into_iter()
            .filter(|row| row.closes_at.some().is_none_or(|closes_at| closes_at > call.now));
        rows.extend(running.by_ref().take(limit - rows.len()));
        if running.next().is_some() {
            // More of this page are running than fit: the next page goes on after the last of
            // these.
            cursor = rows.last().map(|row: &ProductRow| ProductCursor {
                created_at: row.created_at,
                product: row.product,
            });
        }
        if rows.len() == limit || cursor.is_none() {
            break;
        }
    }
    let next = cursor.map(|cursor| cursor.to_string());
    Ok(Answer::ok(render::flash_sales(&with_live(call, rows).await, call.now, next)))
}

/// Rows of the catalog with the units of the moment: as the engine pushed them, or else asked for.
/// A product that the engine cannot tell about goes without.
async fn with_live(call: &Call<'_>, rows: Vec<ProductRow>) -> Vec<(ProductRow, Option<Live>)> {
    let mut found = Vec::with_capacity(rows.len());
    let mut missing = Vec::new();
    for row in rows {
        let level = call.worker.engine.level_of(row.product);
        let live = level.map(|level| Live::of_level(&level, row.waitlist_capacity));
        if live.is_none()
            && let Ok(partition) = call.partition_of(row.product)
        {
            // Asked for now and awaited below, so that all leave in one frame.
            let read = Ask::Read(Read::Product { product: row.product });
            missing.push((found.len(), call.ask(partition, read)));
        }
        found.push((row, live));
    }
    for (index, answer) in missing {
        if let Ok(Outcome::Product(view)) = answer.await {
            found[index].1 = Some(Live::of_view(&view));
        }
    }
    found
}
