//! Units that come back: once, within a second, and to the waitlist first.

mod support;

use serde_json::{Value, json};
use std::thread;
use support::{Server, run_well, verify_and_audit, wait_until};

/// Events of the log, oldest first.
fn events(server: &Server) -> Vec<Value> {
    let data = server.data().to_str().expect("UTF-8");
    let dump = run_well(&["log", "dump", "--json", "--data", data]);
    dump.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Microseconds since the epoch of an RFC 3339 time in UTC, of today's century.
fn micros(time: &Value) -> i64 {
    let text = time.as_str().expect("a time");
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().expect("digits");
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days from civil, by Howard Hinnant.
    let shifted = year - i64::from(month <= 2);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = shifted.div_euclid(400) * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19);
    let fraction = text[19..].trim_start_matches('.').trim_end_matches('Z');
    let fraction = format!("{fraction:0<6}").parse::<i64>().expect("digits");
    seconds * 1_000_000 + fraction
}

#[test]
fn an_expired_hold_goes_to_the_next_in_line_within_a_second() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let terms = json!({
        "price": 100, "currency": "USD", "stock": 1, "holdSeconds": 1, "waitlistCapacity": 9,
    });
    server.define("lamp", &terms);
    let mut client = server.client();
    let names = ["ann", "ben", "cat"];
    let tokens = names.map(|name| server.token(name));
    let orders: Vec<_> =
        tokens.iter().map(|token| client.buy("lamp", token, None, true).order()).collect();

    // Ann does not pay, so ben gets the unit; ben does not either, so cat gets it, and pays.
    wait_until("cat's order is a hold", || {
        let path = format!("/orders/{}", orders[2]);
        client.call("GET", &path, Some(&tokens[2]), None).body["status"] == "pending"
    });
    let path = format!("/orders/{}/pay", orders[2]);
    let paid = client.call("PUT", &path, Some(&server.admin_token()), None);
    assert_eq!(paid.body["status"], "paid", "{paid:?}");

    let events = events(&server);
    let expired: Vec<_> = events.iter().filter(|event| event["event"] == "expired").collect();
    assert_eq!(expired.len(), 2, "{events:#?}");
    let placed = events.iter().find(|event| event["event"] == "placed").expect("ann's hold");
    for (index, event) in expired.iter().enumerate() {
        assert_eq!(event["order"], orders[index].as_str());
        assert_eq!(event["served"], json!([orders[index + 1]]), "the unit goes to the next");
    }
    let late_us = micros(&expired[0]["at"]) - micros(&placed["expiresAt"]);
    assert!((0..=1_000_000).contains(&late_us), "it expired {late_us} µs after its deadline");
    assert!(server.stop().success());
    let report = verify_and_audit(&home.path().join("data"));
    assert_eq!((&report["sold"], &report["servedFromWaitlist"]), (&json!(1), &json!(2)));
}

#[test]
fn nobody_overtakes_the_waitlist() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let terms = json!({ "price": 100, "currency": "USD", "stock": 1, "waitlistCapacity": 9 });
    server.define("lamp", &terms);
    let mut client = server.client();
    let (ann, ben, eve) = (server.token("ann"), server.token("ben"), server.token("eve"));
    let first = client.buy("lamp", &ann, None, false).order();
    let waiting = client.buy("lamp", &ben, None, true).order();
    let cancel = format!("/orders/{first}/cancel");
    assert_eq!(client.call("PUT", &cancel, Some(&ann), None).status, 200);
    // The unit was ben's before eve could ask for it.
    assert_eq!(client.buy("lamp", &eve, None, false).code(), "sold-out");
    let order = client.call("GET", &format!("/orders/{waiting}"), Some(&ben), None);
    assert_eq!(order.body["status"], "pending", "{order:?}");
    let more = json!({ "add": 1 });
    let admin = server.admin_token();
    let added = client.call("PUT", "/products/lamp/inventory", Some(&admin), Some(&more));
    assert_eq!(added.status, 200, "{added:?}");
    // The edge lets her ask again within 100 ms of the stock's coming back.
    wait_until("eve gets the new unit", || client.buy("lamp", &eve, None, false).status == 201);
    assert!(server.stop().success());
    verify_and_audit(&home.path().join("data"));
}

#[test]
fn a_hundred_cancels_at_once_return_one_unit() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let ann = server.token("ann");
    let order = server.client().buy("demo", &ann, None, false).order();
    let before = server.product("demo")["available"].as_u64().expect("a number");
    let path = format!("/orders/{order}/cancel");
    let statuses: Vec<u16> = thread::scope(|scope| {
        let threads: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| server.client().call("PUT", &path, Some(&ann), None).status))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
    assert_eq!(server.product("demo")["available"], before + 1);
    let cancelled = events(&server).iter().filter(|event| event["event"] == "cancelled").count();
    assert_eq!(cancelled, 1);
    assert!(server.stop().success());
    verify_and_audit(&home.path().join("data"));
}
