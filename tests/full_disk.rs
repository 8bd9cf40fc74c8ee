//! A full disk: orders are answered 503, none is acknowledged that is not on disk, and when there
//! is room again the sale goes on by itself.
//!
//! It needs a small file system of its own, so it runs as root only, and is skipped otherwise.

mod support;

use serde_json::json;
use support::disk::Disk;
use support::{Server, or_skip, wait_until};

#[test]
fn a_full_disk_refuses_and_resumes() {
    let home = tempfile::tempdir().expect("a directory");
    let Some(disk) = or_skip(Disk::memory(40)) else { return };
    let data = disk.path().join("data");
    let store = format!("sqlite:{}", home.path().join("store.sqlite").display());
    let flags = ["--partitions", "1", "--segment-size", "8MiB", "--store", &store];
    let server = Server::start_with(&data, "127.0.0.1:0", &flags);
    server.define("lamp", &json!({ "price": 1, "currency": "USD", "stock": 1_000_000 }));
    let ann = server.token("ann");
    let mut client = server.client();
    let mut acknowledged = vec![client.buy("lamp", &ann, None, false).order()];

    // Whatever is left goes to a file that has nothing to do with the sale.
    let filler = disk.fill();
    let mut refused = None;
    for _ in 0..20_000 {
        let answer = client.buy("lamp", &ann, None, false);
        match answer.status {
            201 => acknowledged.push(answer.order()),
            _ => {
                refused = Some(answer);
                break;
            }
        }
    }
    let refused = refused.expect("the disk became full");
    assert_eq!((refused.status, refused.code()), (503, "overloaded"), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let reads = client.call("GET", &format!("/orders/{}", acknowledged[0]), Some(&ann), None);
    assert_eq!(reads.status, 200, "what is there can still be read");

    drop(filler);
    wait_until("orders are taken again", || {
        let answer = client.buy("lamp", &ann, None, false);
        if answer.status == 201 {
            acknowledged.push(answer.order());
        }
        answer.status == 201
    });
    server.kill();

    let server = Server::start_with(&data, "127.0.0.1:0", &flags);
    let mut client = server.client();
    for order in &acknowledged {
        let answer = client.call("GET", &format!("/orders/{order}"), Some(&ann), None);
        assert_eq!(answer.status, 200, "order {order} was acknowledged: {answer:?}");
    }
    drop(client);
    assert!(server.stop().success());
    support::run_well(&["log", "verify", "--data", data.to_str().expect("UTF-8")]);
    let data = data.to_str().expect("UTF-8");
    support::run_well(&["audit", "--data", data, "--store", &store]);
}
