//! The binary: exit codes, and what stands on standard output.

mod support;

use std::path::Path;
use std::process::{Command, Output};
use support::Shop;
use support::http_server::HttpServer;

fn loadgen(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_doorbuster-loadgen"))
        .arg("--data")
        .arg(data)
        .args(arguments)
        .env_remove("DOORBUSTER_TOKEN")
        .output()
        .expect("the binary runs")
}

#[test]
fn exit_codes_and_output() {
    let data = tempfile::tempdir().expect("a directory");
    let secrets = data.path().join("secrets");
    std::fs::create_dir(&secrets).expect("a directory");
    std::fs::write(secrets.join("token.secret"), "5a".repeat(32) + "\n").expect("written");
    let check = |forgets_keys: bool, arguments: &[&str], code: i32| {
        let server =
            HttpServer::start(if forgets_keys { Shop::forgetful(50) } else { Shop::new(50, 0) });
        let url = format!("http://{}", server.address());
        let mut all = vec![url.as_str(), "--buyers", "100", "--duplicates", "0.5"];
        all.extend(arguments);
        let output = loadgen(data.path(), &all);
        let (out, err) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        let (out, err) = (out.expect("text"), err.expect("text"));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
        (out, err)
    };
    let (out, err) = check(false, &["--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON on standard output");
    assert_eq!((&json["winners"], &json["violations"]), (&50.into(), &0.into()));
    assert_eq!(err, "");
    let (out, _) = check(false, &[], 0);
    assert!(out.contains("accepted                50"), "{out}");
    check(true, &[], 1);
    let (_, err) = check(false, &["--threads", "0"], 2);
    assert!(!err.is_empty());
    check(false, &["--no-such-flag"], 2);
    check(false, &["--pay", "1.5"], 2);

    let remote = loadgen(data.path(), &["http://192.0.2.1:80"]);
    assert_eq!(remote.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&remote.stderr).contains("--allow-remote"));
    let nowhere = loadgen(&data.path().join("not-there"), &[]);
    assert_eq!(nowhere.status.code(), Some(2));
    let help = loadgen(data.path(), &["--help"]);
    let help = String::from_utf8(help.stdout).expect("text");
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
}
