//! A process that may open no more files refuses orders in time, and goes on when it may again.
//!
//! Alone in its file, because the limit is the whole process's.

#[allow(dead_code, reason = "one test needs only some of it")]
mod support;

use doorbuster_protocol::Outcome;
use doorbuster_protocol::command::Command;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Client, Running, config, define, place, product};

fn may_open(files: Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    let current = files.or(limit.maximum);
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("a limit below the hard one");
}

#[test]
fn a_process_out_of_descriptors_refuses_and_recovers() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let shoe = product("shoe");
    let mut client = Client::connect(running.address());
    client.ask(shoe, Command::Define(define("shoe", 1_000_000)));
    let mut buyer = 0;
    let mut order = || {
        buyer += 1;
        client.ask(shoe, place("shoe", buyer, None))
    };
    may_open(Some(3));
    while matches!(order(), Outcome::Placed(_)) {}
    let refused = order();
    may_open(None);
    assert_eq!(refused, Outcome::Overloaded);
    while !matches!(order(), Outcome::Placed(_)) {}
    running.stop();
}
