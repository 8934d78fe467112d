//! A check that cannot fail is a defect: each is shown to fail here, and to let pass what is fine.

use crate::graph::{self, circles, imports_of, mutual_modules};
use crate::source::Source;
use crate::{clock_readings, impurities, names, sources, table, wide_comments};

fn file(path: &str, text: &str) -> Source {
    Source::parse(path, text)
}

#[test]
fn an_import_that_the_table_does_not_allow_is_named_with_what_it_allows() {
    let sources = [file("dns/exchange.rs", "use crate::http::reply;"), file("http/mod.rs", "")];
    assert_eq!(
        graph::violations(&sources, table::DDNSD),
        ["dns/exchange.rs imports http; dns may import model, config, counters, clock, log_budget"]
    );
    let fine = [file("dns/exchange.rs", "use crate::config::Dns;"), file("config/mod.rs", "")];
    assert_eq!(graph::violations(&fine, table::DDNSD), [""; 0]);
}

#[test]
fn a_module_that_the_table_does_not_know_is_named() {
    let sources = [file("utils.rs", ""), file("model/mod.rs", "")];
    let found = graph::violations(&sources, table::DDNSD);
    assert_eq!(found, ["utils.rs: the layout has no module `utils`"]);
}

#[test]
fn a_path_in_the_middle_of_code_is_an_import_too() {
    let sources = [
        file("rules/sliding_window.rs", "fn f() -> u8 { let x = crate::db::open(); x }"),
        file("limits/mod.rs", "fn f(x: super::http::Reply) {}"),
        file("model/name.rs", "fn f(x: super::super::stories::X) {}"),
        file("admin/mod.rs", "use crate::{config::Admin, http::{self, reply::Reply}};"),
        file("main.rs", "use ddnsd::db;"),
    ];
    let found = graph::violations(&sources, table::DDNSD);
    let heads: Vec<_> = found.iter().map(|line| line.split(';').next().unwrap()).collect();
    assert_eq!(
        heads,
        [
            "rules/sliding_window.rs imports db",
            "limits/mod.rs imports http",
            "model/name.rs imports stories",
            "admin/mod.rs imports http",
            "main.rs imports db",
        ]
    );
}

#[test]
fn comments_strings_and_tests_contain_no_import() {
    let text = r####"
        //! crate::http
        /* crate::http /* nested */ crate::http */
        const A: &str = "crate::http \" crate::http";
        const B: &str = r#"crate::http " crate::http"#;
        const C: char = '"'; // crate::http
        fn f<'a>(x: &'a str) -> &'a str { x }
        #[cfg(test)]
        mod tests { use crate::http::Reply; fn g() { if true { } } }
        #[cfg(test)]
        use crate::http;
        fn after() {}
    "####;
    assert_eq!(graph::violations(&[file("dns/mod.rs", text)], table::DDNSD), [""; 0]);
    let after = format!("{text} fn h() {{ crate::http::h() }}");
    assert_eq!(graph::violations(&[file("dns/mod.rs", &after)], table::DDNSD).len(), 1);
}

#[test]
fn super_inside_an_inline_module_is_the_file_itself() {
    let inline =
        "mod sqlite { use super::hosts; } mod mariadb { use super::super::http; } use super::dns;";
    let found = graph::violations(&[file("db/mod.rs", inline)], table::DDNSD);
    let heads: Vec<_> = found.iter().map(|line| line.split(';').next().unwrap()).collect();
    assert_eq!(heads, ["db/mod.rs imports dns", "db/mod.rs imports http"]);
}

#[test]
fn modules_that_import_each_other_are_found() {
    let sources = [
        file("dns/tcp.rs", "use crate::db::x;"),
        file("db/mod.rs", "use crate::dns::y; use crate::model::z;"),
        file("model/mod.rs", ""),
    ];
    assert_eq!(mutual_modules(&sources), ["db and dns import each other"]);
    assert_eq!(mutual_modules(&sources[1..]), [""; 0]);
}

#[test]
fn a_circle_of_files_is_found_however_long_it_is() {
    let sources = [
        file("dns/mod.rs", "mod tsig; mod batcher; mod udp; use batcher::Batcher;"),
        file("dns/tsig.rs", "use super::batcher::Batcher;"),
        file("dns/batcher.rs", "use super::udp; use crate::dns::Lane;"),
        file("dns/udp.rs", "use super::tsig;"),
        file("model/host.rs", "use super::notice::Notice;"),
        file("model/notice.rs", "use super::host::Host; use crate::dns::udp;"),
    ];
    let found = circles(&sources);
    let found: Vec<_> = found.iter().map(|it| (it.folder.as_str(), it.files.join(" "))).collect();
    let dns = "dns/batcher.rs dns/tsig.rs dns/udp.rs".to_owned();
    let model = "model/host.rs model/notice.rs".to_owned();
    assert_eq!(found, [("dns", dns), ("model", model)]);
}

#[test]
fn files_that_import_each_other_only_through_their_module_file_are_no_circle() {
    let sources = [
        file("dns/mod.rs", "mod tsig; mod batcher; use batcher::Batcher; use tsig::Signer;"),
        file("dns/tsig.rs", "use super::batcher::Batcher; use super::Lane;"),
        file("dns/batcher.rs", "use crate::dns::Lane;"),
    ];
    assert_eq!(circles(&sources), []);
}

#[test]
fn a_name_of_several_types_is_found() {
    let sources = [
        file("dns/mod.rs", "pub struct Job; enum Lane { Interactive } struct Own { r#struct: u8 }"),
        file("db/mod.rs", "trait Job {} impl Write for X { type Own = u8; }"),
        file("limits/tests.rs", "#[cfg(test)] mod tests { struct Lane; }"),
    ];
    let found: Vec<_> = names::shared(&sources).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["Job stands for 2 things: dns/mod.rs, db/mod.rs"]);
}

#[test]
fn a_comment_line_that_is_too_wide_is_found() {
    let wide = format!("fn f() {{}}\n    // {}\n", "é".repeat(94));
    let fits = format!("    // {}\nlet url = \"{}\";\n", "é".repeat(93), "x".repeat(200));
    assert_eq!(wide_comments("dns/tcp.rs", &wide).len(), 1);
    assert!(wide_comments("dns/tcp.rs", &wide)[0].starts_with("dns/tcp.rs:2: "));
    assert_eq!(wide_comments("dns/tcp.rs", &fits), [""; 0]);
}

#[test]
fn product_lines_are_those_that_are_neither_blank_nor_comment_nor_test() {
    let text = "//! doc\n\nuse std::fmt; // why\n/* a\n b */\nconst S: &str = \"\n  text\n\";\n\
                #[cfg(test)]\nmod tests {\n    fn f() {}\n}\nfn last() {}\n";
    assert_eq!(file("clock.rs", text).product_lines(), 5);
}

#[test]
fn impure_code_is_found() {
    for text in [
        "use tokio::sync::Mutex;",
        "async fn f() {}",
        "use std::{fmt, fs::File};",
        "fn f() { std::fs::read(\"x\"); }",
        "fn f() { tracing::info!(\"x\"); }",
        "use rand::Rng;",
    ] {
        assert_eq!(impurities(&file("rules/reply.rs", text)).len(), 1, "{text}");
    }
    let pure = "use std::net::IpAddr; fn f(l: tracing::Level) {} fn f(operand: u8) -> u8 { crate::rand::x(operand) }";
    assert_eq!(impurities(&file("rules/reply.rs", pure)), [""; 0]);
}

#[test]
fn a_reading_of_the_clock_is_found() {
    for text in [
        "fn f() { std::time::Instant::now(); }",
        "fn f() { SystemTime::now(); }",
        "fn f() { tokio::time::Instant::now(); }",
        "fn f(start: Instant) { start.elapsed(); }",
        "fn f() { x.unwrap_or_else(Instant::now); }",
    ] {
        assert_eq!(clock_readings(&file("dns/tcp.rs", text)).len(), 1, "{text}");
    }
    assert_eq!(clock_readings(&file("dns/tcp.rs", "fn f(c: Clock) { c.now(); }")), [""; 0]);
}

#[test]
fn no_two_modules_of_the_table_may_import_each_other() {
    for table in [table::DDNSD, table::DDNSCTL, table::PROTO] {
        for (module, allowed) in table {
            for other in *allowed {
                let (_, theirs) = table
                    .iter()
                    .find(|(name, _)| name == other)
                    .unwrap_or_else(|| panic!("{module} may import {other}, which is no module"));
                assert!(!theirs.contains(module), "{module} and {other} may import each other");
            }
        }
    }
}

#[test]
fn the_real_sources_are_read() {
    let sources = sources("ddnsd");
    let found = |path: &str| sources.iter().find(|source| source.path == path);
    let clock = found("clock.rs").expect("clock.rs");
    assert!(!clock_readings(clock).is_empty(), "clock.rs reads the clock");
    assert!(imports_of(clock, &sources).iter().any(|import| import.module == "model"));
    assert!(found("model/mod.rs").is_some());
}
