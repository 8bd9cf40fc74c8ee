//! Watches the stock levels that the engine pushes, for the metrics page.

use super::{Role, runtime};
use crate::metrics::Stock;
use doorbuster_client::{ClientOptions, EngineClient};
use doorbuster_protocol::handshake::PreSharedKey;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// How old a level may be: well below the seconds between two scrapes.
const REFRESH: Duration = Duration::from_millis(100);

/// Starts watching.
pub(crate) fn start(engine: Vec<SocketAddr>, key: PreSharedKey) -> (Role, Stock) {
    let stock = Stock::default();
    let shown = stock.clone();
    let (stop, mut stopping) = oneshot::channel::<()>();
    let thread = thread::Builder::new()
        .name("stock".to_owned())
        .spawn(move || {
            LocalSet::new().block_on(&runtime(), async {
                tokio::select! {
                    _ = &mut stopping => {}
                    () = watch(&engine, &key, &shown) => {}
                }
            });
        })
        .unwrap_or_else(|error| panic!("cannot start the stock's thread: {error}"));
    let role = Role {
        name: "stock watch",
        stop: Box::new(move || {
            let _ = stop.send(());
        }),
        join: Box::new(move || {
            thread.join().expect("a panic would have ended the process");
            Ok(())
        }),
    };
    (role, stock)
}

async fn watch(engine: &[SocketAddr], key: &PreSharedKey, shown: &Stock) {
    loop {
        let options = ClientOptions { watch_stock: true, ..ClientOptions::default() };
        if let Ok(client) = EngineClient::connect(engine, key, options).await {
            // It reconnects by itself from here on.
            loop {
                shown.set(client.levels());
                tokio::time::sleep(REFRESH).await;
            }
        }
        tokio::time::sleep(REFRESH).await;
    }
}
