//! The URLs of stores, as anybody may mistype them: a URL or a reason, and never the password in
//! what is shown of either.

use crate::Seed;
use crate::config::show::without_password;
use crate::config::stores::named_url;
use crate::script::Script;
use doorbuster_persistence::ShardUrl;

/// What URLs are made of.
pub const WORDS: &[&str] = &[
    "postgres://",
    "postgresql://",
    "east=",
    "host=",
    "hostaddr=",
    "user=",
    "dbname=",
    "port=5432",
    "sslmode=verify-full",
    "sslmode=disable",
    "sslrootcert=/ca.pem",
    "target_session_attrs=read-write",
    "connect_timeout=3",
    "options=-c%20a",
    "[::1]",
    "%2Frun%2Fpg",
    "a:1,b:2",
    "'",
    "\\",
    "?",
    "&",
    "@",
];

/// A password that stands in no other part of a URL.
const PASSWORD: &str = "hunter2-Xy_9";

/// One input: how the URL is made, then its parts.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let way = script.below(4);
    if way == 0 {
        if let Ok(text) = std::str::from_utf8(script.rest()) {
            any(text);
        }
        return;
    }
    // What would end a name, in either form.
    let user = text(script.bytes(32), |c| !"/?#@: '\\=".contains(c));
    let rest = text(script.rest(), |c| c != '\0');
    if user.contains(PASSWORD) || rest.contains(PASSWORD) {
        return;
    }
    match way {
        1 => with_password(&format!("postgres://{user}:{PASSWORD}@{rest}")),
        2 => with_password(&format!("user={user}x password={PASSWORD} {rest}")),
        _ => with_password(&format!("postgres://{user}@h/d?password={PASSWORD}&{rest}")),
    }
}

fn text(bytes: &[u8], keep: impl Fn(char) -> bool) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| keep(*c)).collect()
}

/// Any text is a URL that says the same when it is read again, or is refused with a reason.
fn any(text: &str) {
    without_password(text);
    match text.parse::<ShardUrl>() {
        Ok(url) => {
            assert_eq!(text.parse::<ShardUrl>().as_ref(), Ok(&url));
            assert!(!url.place().is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let named = named_url(text);
    assert!(named.is_err() || text.contains("://"), "a shard is named by a URL");
}

/// Whatever is made of a text with a password in it does not show the password.
fn with_password(url: &str) {
    let hides = |what: &str, shown: &str| {
        assert!(!shown.contains(PASSWORD), "{what} shows the password of {url:?}: {shown}");
    };
    match url.parse::<ShardUrl>() {
        Ok(url) => hides("a URL", &format!("{url} {url:?} {}", url.place())),
        Err(error) => hides("a refusal", &format!("{error} {error:?}")),
    }
    for named in [url.to_owned(), format!("east={url}")] {
        match named_url(&named) {
            Ok(shard) => hides("a shard", &format!("{shard:?}")),
            Err(error) => hides("a refusal", &error),
        }
        hides("a value for eyes", &without_password(&named));
    }
}

/// URLs that are taken, and some that are not.
pub fn seeds() -> Vec<Seed> {
    let texts = [
        "postgres://shop:hunter2@db:6000/sale",
        "postgresql://shop@db/sale",
        "postgres://shop:a%40b@db",
        "postgres://shop:hunter2@a:1,b:2/sale?target_session_attrs=read-write",
        "host=/run/pg user=shop password=hunter2",
        "hostaddr=::1 user=shop dbname=sale",
        "host=db user=shop password='a b' sslmode=verify-full sslrootcert=/ca.pem",
        "east=postgres://shop@db/sale?sslmode=verify-ca",
        "mysql://shop:hunter2@db/sale",
        "postgre//shop:hunter2@db/sale?sslmode=disable",
        "postgres://%2Frun%2Fpg/sale",
        "",
    ];
    let rests = [
        "db:6000/sale",
        "db/sale?sslmode=require&connect_timeout=3",
        "db:port/sale",
        "[::1]:5432,b/x?target_session_attrs=any",
        "host=db port=1 dbname=x",
        "host=db sslmode=verify-full sslrootcert=/ca.pem",
        "options=-c&x=y",
    ];
    let raw = texts.map(|text| [&[0], text.as_bytes()].concat());
    let made = rests.iter().flat_map(|rest| {
        (1..4_u8).map(move |way| [&[way, 4], b"shop".as_slice(), rest.as_bytes()].concat())
    });
    let all = raw.into_iter().chain(made).enumerate();
    all.map(|(number, bytes)| (format!("url-{number}"), bytes)).collect()
}
