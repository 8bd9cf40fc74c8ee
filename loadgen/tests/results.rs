//! Results over the real binary: objectives, the file that is kept, its page, and two of them compared.

mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use support::Shop;
use support::http_server::HttpServer;

/// A shop, and a directory for secrets and results.
struct Scene {
    server: Arc<HttpServer>,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let secrets = directory.path().join("secrets");
        fs::create_dir(&secrets).expect("a directory");
        fs::write(secrets.join("token.secret"), "5a".repeat(32) + "\n").expect("written");
        Self { server: HttpServer::start(Shop::new(100, 0)), directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A load with these arguments, which must end with this code.
    fn load(&self, arguments: &[&str], code: i32) -> (String, String) {
        let url = format!("http://{}", self.server.address());
        let data = self.directory.path().display().to_string();
        let all = [&[url.as_str(), "--data", &data], arguments].concat();
        run(&all, code)
    }
}

fn run(arguments: &[&str], code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_doorbuster-loadgen"))
        .args(arguments)
        .env_remove("DOORBUSTER_TOKEN")
        .output()
        .expect("the binary runs");
    let (out, err) = (String::from_utf8(stdout), String::from_utf8(stderr));
    let (out, err) = (out.expect("text"), err.expect("text"));
    assert_eq!(status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    (out, err)
}

fn read(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("a result")).expect("JSON")
}

#[test]
fn objectives_decide_the_exit_code() {
    let scene = Scene::new();
    let (out, _) = scene.load(&["--slo", "p99<30s", "--slo", "errors<0.1%"], 0);
    assert!(out.contains("✓ p99<30s") && out.contains("✓ errors<0.1%"), "{out}");
    let (out, _) = scene.load(&["--slo", "p99<30s", "--slo", "rate>100m", "--json"], 99);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["slos"][0]["isMet"], true);
    assert_eq!(json["slos"][1]["slo"], "rate>100m");
    assert_eq!(json["slos"][1]["isMet"], false);
    let (_, err) = scene.load(&["--slo", "p99<5"], 2);
    assert!(err.contains("with its unit"), "{err}");
}

#[test]
fn files_that_cannot_be_written_are_known_before_the_load() {
    let scene = Scene::new();
    let (one, other) = (scene.path("one"), scene.path("other"));
    for flag in ["--out", "--html", "--journal"] {
        let (_, err) = scene.load(&[flag, "/nonexistent/file"], 2);
        assert!(err.contains("/nonexistent/file cannot be written"), "{err}");
    }
    let (_, err) = scene.load(&["--out", &one, "--html", &one], 2);
    assert!(err.contains("named twice"), "{err}");
    scene.load(&["--out", &one, "--zipf", "1"], 2);
    assert_eq!(scene.server.requests.load(SeqCst), 0, "nothing was sent");
    let nobody = run(&["http://127.0.0.1:1", "--token", "x", "--out", &one, "--html", &other], 1);
    assert!(nobody.1.contains("does not answer"), "{nobody:?}");
    assert!(!Path::new(&one).exists() && !Path::new(&other).exists(), "nothing is left behind");
}

#[test]
fn stages_and_a_warm_up_stand_in_the_result() {
    let scene = Scene::new();
    let out = scene.path("result.json");
    let stages = "500ms:0..200,500ms:100,500ms:200";
    scene.load(&["--stages", stages, "--warm-up", "500ms", "--out", &out], 0);
    let result = read(&out);
    assert_eq!(result["plan"]["stages"], json!(["0.5s:0..200", "0.5s:100", "0.5s:200"]));
    assert_eq!(result["plan"]["pace"], "stages");
    let counts = ["/stages/0/offered", "/stages/1/offered", "/stages/2/offered"]
        .map(|pointer| result.pointer(pointer).and_then(Value::as_u64));
    assert_eq!(counts, [Some(50), Some(50), Some(100)]);
    assert_eq!(result["warmUp"]["attempts"], 50);
    assert_eq!(result["attempts"], 150);
    assert_eq!(result["latency"]["orders"]["count"], 150);
    let slices = result["slices"].as_array().expect("slices");
    let sum = |name: &str| slices.iter().filter_map(|slice| slice[name].as_u64()).sum::<u64>();
    assert_eq!((sum("sent"), sum("intended"), sum("accepted")), (200, 200, 100));
    assert!(result["generatorCpuUsPerRequest"].as_f64().expect("a number") > 0.0);
    let (_, err) = scene.load(&["--stages", "1s:5", "--warm-up", "1s"], 2);
    assert!(err.contains("shorter than the run"), "{err}");
    let (_, err) = scene.load(&["--stages", "1s:5", "--rate", "5"], 2);
    assert!(err.contains("cannot be used with"), "{err}");
}

#[test]
fn idle_connections_are_held_from_many_addresses() {
    let scene = Scene::new();
    let arguments = ["--buyers", "200", "--idle", "20", "--source-addresses", "4", "--json", "-c"];
    let (out, _) = scene.load(&[&arguments[..], &["8"]].concat(), 0);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    let idle = json!({ "wanted": 20, "opened": 20, "stood": 20, "cut": 0, "failure": null });
    assert_eq!(json["idle"], idle);
    let seen = scene.server.clients();
    assert_eq!(
        seen.len(),
        4 + 1,
        "four sources, and the system's choice for the first look: {seen:?}"
    );
    for refused in [["--source-addresses", "10.0.0.1-10.0.0.2"], ["--idle", "900m"]] {
        scene.load(&refused, 2);
    }
}

#[test]
fn a_result_becomes_a_page_that_needs_nothing_else() {
    let scene = Scene::new();
    let (kept, direct, later) = (scene.path("a.json"), scene.path("a.html"), scene.path("b.html"));
    let arguments =
        ["--rate", "1k", "--buyers", "300", "--slo", "p50<0us", "--out", &kept, "--html", &direct];
    scene.load(&arguments, 99);
    run(&["report", &kept, "--html", &later], 0);
    let page = fs::read_to_string(&direct).expect("a page");
    assert_eq!(page, fs::read_to_string(&later).expect("a page"));
    for wanted in ["Throughput", "Percentiles", "objectives missed", "<code>p50&lt;0us</code>"] {
        assert!(page.contains(wanted), "{wanted}");
    }
    for unwanted in ["<script", "<link", "@import", "url(", "src=", "href="] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
    check_balance(&page);
    let (text, _) = run(&["report", &kept], 0);
    assert!(text.contains("✗ p50<0us"), "{text}");
}

#[test]
fn what_comes_from_outside_stays_text() {
    let scene = Scene::new();
    let (kept, page) = (scene.path("a.json"), scene.path("a.html"));
    scene.load(&["--out", &kept], 0);
    let evil = "</title></svg><script>alert('x')</script><b \"";
    let mut result = read(&kept);
    result["target"] = json!(evil);
    result["failures"] = json!({ evil: 3 });
    result["refusals"] = json!({ evil: 3 });
    result["warnings"] = json!([evil]);
    result["endedBy"] = json!(evil);
    result["violationSamples"] = json!([evil]);
    result["plan"]["stages"] = json!([evil]);
    result["slos"] = json!([
        { "slo": evil, "isMet": false, "measured": evil, "isAboutErrors": false }
    ]);
    result["latency"][evil] = result["latency"]["orders"].clone();
    fs::write(&kept, result.to_string()).expect("written");
    run(&["report", &kept, "--html", &page], 0);
    let page = fs::read_to_string(&page).expect("a page");
    assert!(!page.contains("<script") && !page.contains("<b "), "{page}");
    check_balance(&page);
}

#[test]
fn every_field_of_a_result_is_described() {
    let scene = Scene::new();
    let out = scene.path("result.json");
    scene.load(&["--stages", "100ms:100", "--warm-up", "50ms", "--idle", "1", "--out", &out], 0);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/load-generator.md");
    let page = fs::read_to_string(page).expect("the page");
    let result = read(&out);
    for part in ["", "/plan", "/warmUp", "/idle", "/slices/0"] {
        let fields = result.pointer(part).and_then(Value::as_object).expect("fields");
        for field in fields.keys() {
            // Counts of a slice have the names of the whole.
            assert!(page.contains(&format!("`{field}`")), "{part}/{field} is not in the page");
        }
    }
}

#[test]
fn what_is_no_result_is_refused() {
    let scene = Scene::new();
    let file = scene.path("other.json");
    for (text, why) in
        [("{}", "no result"), ("x", "no result"), (r#"{"format":99}"#, "has form 99")]
    {
        fs::write(&file, text).expect("written");
        let (_, err) = run(&["report", &file], 2);
        assert!(err.contains(why) && err.contains("other.json"), "{err}");
    }
    assert!(!Path::new(&scene.path("missing.json")).exists());
    run(&["report", &scene.path("missing.json")], 2);
}

#[test]
fn what_became_worse_is_marked() {
    let scene = Scene::new();
    let [before, after, page] = ["before.json", "after.json", "page.html"].map(|n| scene.path(n));
    scene.load(&["--buyers", "500", "--out", &before], 0);
    let (text, _) = run(&["compare", &before, &before], 0);
    assert!(text.contains("✓ nothing is worse by more than 5 %"), "{text}");

    let mut result = read(&before);
    let p90 = result["latency"]["orders"]["p90Us"].as_u64().expect("a number");
    result["latency"]["orders"]["p90Us"] = json!(p90 * 3);
    result["errors"] = json!(5);
    result["threads"] = json!(2);
    result["plan"]["zipf"] = json!(1.1);
    result["endedBy"] = json!("a signal");
    fs::write(&after, result.to_string()).expect("written");
    let (text, _) = run(&["compare", &before, &after], 99);
    let row = |name: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(name));
        found.unwrap_or_else(|| panic!("{name} is not in {text}"))
    };
    assert!(row("p90").ends_with("+200.0 %   ✗ worse"), "{text}");
    assert!(row("errors").ends_with("from none   ✗ worse"), "{text}");
    assert!(row("p50").ends_with("0.0 %"), "{text}");
    assert!(text.contains("! the threads differ: 1 and 2"), "{text}");
    assert!(text.contains("! the exponents of Zipf's law differ: none and 1.1"), "{text}");
    assert!(text.contains("! after.json ended early: a signal"), "{text}");
    let (text, _) = run(&["compare", &after, &before, "--tolerance", "1%"], 0);
    assert!(text.contains("−66.7 %   better"), "{text}");

    run(&["compare", &before, &after, "--html", &page], 99);
    let page = fs::read_to_string(&page).expect("a page");
    assert!(page.contains("worse by more than 5 %") && page.contains("before.json"), "{page}");
    check_balance(&page);
    run(&["compare", &before], 2);
    run(&["compare", &before, &after, "--tolerance", "5"], 2);
}

/// Every element that is opened is closed, in order.
fn check_balance(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = page.split_once("</style>").expect("a style").1;
    for part in body.split('<').skip(1) {
        let tag = part.split_once('>').expect("a tag ends").0;
        if let Some(name) = tag.strip_prefix('/') {
            if !["head", "html"].contains(&name) {
                assert_eq!(open.pop(), Some(name), "closes what is open: {part}");
            }
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}
