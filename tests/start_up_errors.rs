//! What keeps a role from starting is said with what, why and the next step, and each kind ends
//! with an exit code of its own.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use support::{Server, doorbuster, run};

#[track_caller]
fn expect(arguments: &[&str], exit: i32, code: &str, mentions: &[&str]) {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {errors}");
    assert!(errors.contains(&format!("error[{code}]: ")), "{errors}");
    for part in ["why: ", "next: "].iter().chain(mentions) {
        assert!(errors.contains(part), "no `{part}` in: {errors}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_busy_port_is_named_with_a_way_out() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (data, free) = (text(&data), "127.0.0.1:0");
    let http = ["serve", "--data", data, "--admin", "off", "--http", &address];
    expect(&http, 3, "address-in-use", &[&address, "--http"]);
    let admin = ["serve", "--data", data, "--http", free, "--admin", &address];
    expect(&admin, 3, "address-in-use", &[&address, "--admin"]);
    let engine = ["engine", "--data", data, "--admin", "off", "--engine-listen", &address];
    expect(&engine, 3, "address-in-use", &[&address]);
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join("thesis.tex"), "precious").expect("written");
    let arguments =
        ["serve", "--data", text(home.path()), "--http", "127.0.0.1:0", "--admin", "off"];
    expect(&arguments, 4, "no-data-directory", &["thesis.tex", "--data"]);
    assert_eq!(fs::read_dir(home.path()).expect("a directory").count(), 1, "nothing was added");
}

#[test]
fn tools_say_when_there_is_no_data_directory() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("nothing");
    for command in
        [&["log", "verify"][..], &["log", "stats"], &["audit"], &["token", "--user", "x"]]
    {
        let arguments: Vec<_> = command.iter().chain(&["--data", text(&data)]).copied().collect();
        expect(&arguments, 4, "no-data-directory", &["--data"]);
    }
    assert!(!data.exists(), "a tool makes nothing");
}

#[test]
fn a_directory_in_use_names_the_process() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let data = text(server.data());
    let arguments = ["serve", "--data", data, "--http", "127.0.0.1:0", "--admin", "off"];
    expect(&arguments, 5, "data-directory-in-use", &[&server.pid().to_string()]);
    // Reading beside it is no problem.
    support::verify_and_audit(server.data());
}

#[test]
fn a_store_that_is_none_is_left_alone() {
    let home = tempfile::tempdir().expect("a directory");
    let (data, file) = (home.path().join("data"), home.path().join("letter.txt"));
    fs::write(&file, "dear reader, ".repeat(100)).expect("written");
    let store = format!("sqlite:{}", text(&file));
    let arguments = [
        "serve",
        "--data",
        text(&data),
        "--http",
        "127.0.0.1:0",
        "--admin",
        "off",
        "--store",
        &store,
    ];
    expect(&arguments, 7, "store-unusable", &["letter.txt"]);
    assert!(fs::read_to_string(&file).expect("still there").starts_with("dear reader"));
}

#[test]
fn wrong_words_are_wrong_usage_and_wrong_files_wrong_configuration() {
    let usage = run(&["serve", "--htpp", "127.0.0.1:0"]);
    assert_eq!(usage.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&usage.stderr).contains("--http"), "it says what is near");
    expect(&["serve", "--http", "nowhere"], 64, "usage", &["--http: `nowhere`"]);

    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("doorbuster.toml");
    fs::write(&file, "cores = 2\nhtpp = \"127.0.0.1:0\"\npartitions = 0\n").expect("written");
    let mentions = ["doorbuster.toml:2:1: unknown key `htpp`: did you mean `http`?", "toml:3:14"];
    expect(&["serve", "--config", text(&file)], 78, "configuration", &mentions);
    expect(&["config", "check", "--config", text(&file)], 78, "configuration", &mentions);
    let output = doorbuster()
        .args(["config", "check"])
        .env("DOORBUSTER_ORDER_TIMEOUT", "soon")
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DOORBUSTER_ORDER_TIMEOUT: `soon`"));
}

#[test]
fn a_signal_drains_and_ends_well() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let token = server.token("ann");
    // A connection that stays open is no reason to stay.
    let mut client = server.client();
    assert_eq!(client.buy("demo", &token, None, false).status, 201);
    assert!(server.stop().success());
}
