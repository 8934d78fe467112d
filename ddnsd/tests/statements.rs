//! Every statement there is, explained by both databases over many rows: none on the update path,
//! in a sweep or in a page of a list goes through a table.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use ddnsd::config::{Database, DatabaseTls, MariaDb};
use ddnsd::db::{Access, Db, Statement, all_statements};
use ddnsd::model::secret::Secret;
use ddnsd_tests::mariadb::{Account, Mariadb};
use sqlx::mysql::{MySqlConnectOptions, MySqlRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use std::sync::Arc;

/// Users; each has as many hosts as there are zones.
const USERS: u32 = 2_000;
const ZONES: u32 = 5;

/// Rows that look like a daemon's after a while, in the SQL of both databases.
fn rows() -> [String; 4] {
    let count = |n: u32| {
        format!("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {n})")
    };
    let users = count(USERS);
    let zones = count(ZONES);
    [
        format!(
            "INSERT INTO users (name, email, password_hash, created_at, changed_at)
             {users} SELECT concat('user', n), 'u@example.org', 'x', 1, 1 FROM c"
        ),
        format!(
            "INSERT INTO hosts (user_id, label, zone, fqdn, state4, ipv4, set4_at, unpublished_since, check_at, created_at, changed_at)
             {zones} SELECT u.id, u.name, concat('z', n, '.example'), concat(u.name, '.z', n, '.example'), 1, '192.0.2.1',
                 1000 + u.id, CASE WHEN u.id % 100 = 0 THEN 1000 + u.id END, 5000 + u.id, 1, 1
             FROM c CROSS JOIN users u"
        ),
        "INSERT INTO touches (host_id, ipv4_at) SELECT id, 2000 FROM hosts".to_owned(),
        "INSERT INTO outbox (kind, recipient, variables, message_id, created_at, next_at)
         SELECT 'expiry', 'u@example.org', '{}', fqdn, 1, id FROM hosts"
            .to_owned(),
    ]
}

/// The statement with a number or a text for each `?`: both read `'1500'` as either.
fn filled(text: &str) -> String {
    let items: Vec<_> = (0..200).map(|n| format!("'user{n}.z1.example'")).collect();
    text.replace("LIMIT ?", "LIMIT 20")
        .replace("IN (?)", &format!("IN ({})", items.join(", ")))
        .replace('?', "'1500'")
}

async fn made(config: &Database) {
    Db::open(config, "test".into(), Arc::default()).await.unwrap().close().await;
}

/// Fails with each statement that says it is keyed and whose plan has something to object to.
fn judge(objections: &[(&'static Statement, Vec<String>)]) {
    let keyed = objections.iter().filter(|(sql, _)| sql.access == Access::Indexed);
    let bad: Vec<_> = keyed
        .filter(|(_, objections)| !objections.is_empty())
        .map(|(sql, objections)| format!("{}: {}", sql.name, objections.join("; ")))
        .collect();
    assert!(bad.is_empty(), "these go through a table:\n{}", bad.join("\n"));
    // the other way round: a plan that is never objected to says that the check sees nothing
    let whole = objections.iter().filter(|(sql, _)| sql.access == Access::FullScan);
    assert!(whole.clone().any(|(_, objections)| !objections.is_empty()), "no scan is seen at all");
}

#[tokio::test]
async fn no_indexed_statement_scans_a_table_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    made(&Database::Sqlite { path: path.clone(), pool_size: 1 }).await;
    let mut conn = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    for text in rows() {
        sqlx::query(AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
    }
    sqlx::query("ANALYZE").execute(&mut conn).await.unwrap();
    let mut objections = Vec::new();
    for sql in all_statements() {
        let explain = format!("EXPLAIN QUERY PLAN {}", sql.sqlite);
        let plan: Vec<SqliteRow> =
            sqlx::query(AssertSqlSafe(explain)).fetch_all(&mut conn).await.expect(sql.name);
        let steps = plan.iter().map(|row| row.get::<String, _>("detail"));
        // the rows of a query inside are all of them wanted
        let steps = steps.filter(|step| !step.starts_with("SCAN (subquery"));
        let bad = steps.filter(|step| step.starts_with("SCAN") || step.contains("TEMP B-TREE"));
        objections.push((sql, bad.collect()));
    }
    judge(&objections);
}

/// By the flags in `.cargo/config.toml`.
#[tokio::test]
async fn sqlite_is_compiled_without_what_no_statement_uses() {
    let mut conn = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
    let options: Vec<SqliteRow> =
        sqlx::query("PRAGMA compile_options").fetch_all(&mut conn).await.unwrap();
    let options: Vec<String> = options.iter().map(|row| row.get(0)).collect();
    for option in ["DEFAULT_MEMSTATUS=0", "DEFAULT_PCACHE_INITSZ=0"] {
        assert!(options.iter().any(|it| it == option), "{option}: {options:?}");
    }
    let unused = ["ENABLE_FTS", "ENABLE_RTREE", "ENABLE_DBSTAT", "ENABLE_STAT4", "ENABLE_MEMORY"];
    let unused: Vec<_> = options
        .iter()
        .filter(|option| unused.iter().any(|name| option.starts_with(name)))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[tokio::test]
async fn no_indexed_statement_scans_a_table_on_mariadb() {
    let account = Mariadb::shared().account();
    made(&Database::Mariadb(configured(&account))).await;
    let options = MySqlConnectOptions::new().socket(&account.socket).username(&account.user);
    let options = options.password(&account.password).database(&account.database);
    let mut conn = options.connect().await.unwrap();
    sqlx::raw_sql("SET max_recursive_iterations = 10000").execute(&mut conn).await.unwrap();
    for text in rows() {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
    }
    sqlx::raw_sql("ANALYZE TABLE users, hosts, touches, outbox").execute(&mut conn).await.unwrap();
    let mut objections = Vec::new();
    for sql in all_statements() {
        let explain = format!("EXPLAIN {}", filled(sql.mariadb));
        let plan: Vec<MySqlRow> =
            sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut conn).await.expect(sql.name);
        objections.push((sql, plan.iter().filter_map(scanned).collect()));
    }
    conn.close().await.unwrap();
    judge(&objections);
}

/// Which an index finds as well: by the plan alone it seems to take no longer than one of a single
/// row.
#[test]
fn an_update_of_unbounded_many_rows_is_declared_a_full_scan() {
    let updates = all_statements().filter(|sql| sql.sqlite.starts_with("UPDATE"));
    let bounded = |sql: &&Statement| sql.sqlite.rsplit("WHERE").next().unwrap().contains(" = ?");
    for sql in updates.filter(|sql| !bounded(sql)) {
        assert_eq!(sql.access, Access::FullScan, "{}", sql.name);
    }
}

/// What is wrong with a step of MariaDB's plan: it reads a whole table or index, or sorts.
fn scanned(step: &MySqlRow) -> Option<String> {
    let text = |column: &str| step.get::<Option<String>, _>(column).unwrap_or_default();
    let (table, how, extra) = (text("table"), text("type"), text("Extra"));
    // an INSERT of values is shown as ALL of no rows
    let rows = step.get::<Option<String>, _>("rows").is_some();
    // the rows that the statement itself brings along
    let is_own = table.starts_with("<derived");
    let is_bad = !is_own && (how == "ALL" || how == "index") && rows || extra.contains("filesort");
    is_bad.then(|| format!("{table}: {how} ({extra})"))
}

fn configured(account: &Account) -> MariaDb {
    MariaDb {
        host: "127.0.0.1".to_owned(),
        port: account.port,
        socket: Some(account.socket.clone()),
        user: account.user.clone(),
        password: Secret::new(account.password.clone()),
        name: account.database.clone(),
        tls: DatabaseTls::Preferred,
        tls_ca_file: None,
        pool_size: 1,
    }
}
