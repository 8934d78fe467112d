//! What is about MariaDB: every way to reach it, every way in which that fails, and its outages.
//! Run on MariaDB, whatever the other tests are run on.

use crate::clock::{BEFORE_1970, with_clock};
use crate::{RECOVERY, Scene};
use ddnsd_tests::authority::Authority;
use ddnsd_tests::ctl::PASSWORD;
use ddnsd_tests::daemon::Daemon;
use ddnsd_tests::eventually::{eventually, eventually_equals};
use ddnsd_tests::http::quick_get;
use ddnsd_tests::mariadb::{Account, Mariadb};
use ddnsd_tests::named::{Named, ZONE, free_port, write_private};
use ddnsd_tests::process::Finished;
use ddnsd_tests::setup::Setup;
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// `daemon.request_timeout` of the outages, in seconds.
const REQUEST_TIMEOUT: u64 = 4;

/// Clients, and hosts, under load while the server is away.
const CLIENTS: usize = 6;

//----- Reaching it -----

/// It starts with this configuration and stores an added user in the database.
#[track_caller]
fn works(setup: Setup) {
    let daemon = setup.start();
    daemon.ctl().add_user("alice");
    let found = daemon.setup().database().sql("SELECT name FROM users;");
    assert_eq!(found, "alice\n");
}

/// It does not start, and says why in one sentence without a password.
#[track_caller]
fn refuses(setup: &Setup, parts: &[&str]) {
    let refused: Finished = setup.run(&[]).exits(1).one_sentence().prints(parts);
    assert!(!refused.output().contains("pässword"), "the password is shown: {refused}");
    setup.run(&["--init-db"]).exits(1).one_sentence();
}

#[test]
fn mariadb_is_reached_by_tcp_and_by_its_socket_with_every_spelling_of_the_keys() {
    let named = Named::start();
    let server = Mariadb::shared();
    let fresh = || {
        let account = server.account();
        (Daemon::builder(&named).on_mariadb(account.clone()), account)
    };

    let (tcp, _) = fresh();
    works(tcp);

    // host and port do not count beside a socket
    let (by_socket, account) = fresh();
    let socket = account.socket.to_str().unwrap();
    works(by_socket.set("database.socket", socket).set("database.port", 1));

    let (aliases, account) = fresh();
    let aliases = aliases.without("database.user").without("database.name");
    let aliases = aliases.set("database.username", account.user);
    works(aliases.set("database.database", account.database));

    let (from_file, account) = fresh();
    let file = from_file.file("password");
    write_private(&file, &format!("{}\n", account.password));
    let from_file = from_file.without("database.password");
    works(from_file.set("database.password_file", file.to_str().unwrap()));

    let (one_connection, _) = fresh();
    works(one_connection.set("database.pool_size", 1));

    // the keys of the other backend are accepted and ignored
    let (ignored, _) = fresh();
    works(ignored.set("database.path", "/nonexistent-ddnsd/ddnsd.sqlite"));
}

#[test]
fn init_db_makes_the_tables_in_mariadb_and_leaves_them_to_a_running_daemon() {
    let named = Named::start();
    let account = Mariadb::shared().account();
    let setup = Daemon::builder(&named).on_mariadb(account.clone());
    setup.run(&["--init-db"]).ok();
    assert_eq!(setup.database().sql("SELECT count(*) FROM users;"), "0\n");
    let daemon = setup.start();
    daemon.ctl().add_user("alice");
    let refused = daemon.setup().run(&["--init-db"]);
    refused.exits(1).prints(&["in use by a running ddnsd", "stop it first"]).one_sentence();
    assert_eq!(daemon.ctl().json(&["user", "list"]).as_array().unwrap().len(), 1);
    // a second daemon starts as if it were the only one
    let second = Daemon::builder(&named).on_mariadb(account).start();
    assert!(!second.log().contains("WARN"), "{}", second.log());
}

#[test]
fn a_mariadb_that_denies_the_login_is_named_with_the_user_and_without_the_password() {
    let named = Named::start();
    let account = Mariadb::shared().account();
    let with = |account: &Account| Daemon::builder(&named).on_mariadb(account.clone());
    let server = format!("127.0.0.1:{}", account.port);

    let wrong = Account { password: "wrong pässword".into(), ..account.clone() };
    refuses(&with(&wrong), &[&server, &account.user]);
    let unknown = Account { user: "nobody".into(), ..account.clone() };
    refuses(&with(&unknown), &[&server, "nobody"]);
    let nowhere = Account { database: "no_such_database".into(), ..account.clone() };
    refuses(&with(&nowhere), &["no_such_database", &account.user]);
    let nothing = Account { port: free_port(), ..account.clone() };
    refuses(&with(&nothing), &[&format!("127.0.0.1:{}", nothing.port)]);
    refuses(&with(&account).set("database.socket", "/no/such.sock"), &["/no/such.sock"]);
    refuses(
        &with(&account).set("database.host", "no-such-host.invalid"),
        &["no-such-host.invalid"],
    );
    works(with(&account));
}

#[test]
fn a_mariadb_database_of_another_program_is_refused_and_left_as_it_is() {
    let named = Named::start();
    for theirs in [
        "CREATE TABLE recipes (id BIGINT PRIMARY KEY, text TEXT); INSERT INTO recipes VALUES (1, 'x');",
        "CREATE TABLE users (uid BIGINT, gecos TEXT); CREATE TABLE hosts (mac TEXT);",
        "CREATE VIEW answer AS SELECT 42;",
        "CREATE TABLE _sqlx_migrations (of_another_kind TEXT);",
    ] {
        let account = Mariadb::shared().account();
        account.sql(theirs);
        let before = account.dump();
        let setup = Daemon::builder(&named).on_mariadb(account.clone());
        refuses(&setup, &[&account.database, "belongs to another program"]);
        assert_eq!(account.dump(), before, "the refused database was changed");
    }
}

#[test]
fn a_unix_socket_account_needs_no_password_and_an_ed25519_account_is_refused_with_the_fix() {
    let named = Named::start();
    let server = Mariadb::start();
    let account = server.account();
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().expect("a user").name;
    server.administer(&format!(
        "CREATE USER IF NOT EXISTS '{me}'@localhost; GRANT ALL ON {db}.* TO '{me}'@localhost;
         ALTER USER '{me}'@localhost IDENTIFIED VIA unix_socket;",
        db = account.database
    ));
    let socket = account.socket.to_str().unwrap();
    let setup =
        || Daemon::builder(&named).on_mariadb(account.clone()).set("database.socket", socket);
    works(setup().set("database.user", me).without("database.password"));
    server.administer(&format!(
        "INSTALL SONAME 'auth_ed25519';
         ALTER USER {}@'%' IDENTIFIED VIA ed25519 USING PASSWORD('pässword');",
        account.user
    ));
    refuses(&setup(), &["client_ed25519", "IDENTIFIED VIA mysql_native_password"]);
}

#[test]
fn a_mariadb_with_other_session_defaults_works() {
    let server = Mariadb::start();
    let account = server.account();
    server.administer(
        "SET GLOBAL autocommit = 0; SET GLOBAL sql_mode = 'ORACLE'; SET GLOBAL completion_type = 1;
         SET GLOBAL sql_select_limit = 1; SET GLOBAL sql_safe_updates = 1;
         SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY;",
    );
    let scene = Scene::with(|setup| setup.on_mariadb(account).set("database.pool_size", 2));
    let ctl = scene.ctl();
    scene.add_hosts(&["nas", "tv"]);
    ctl.add_user("bob");
    assert_eq!(ctl.hosts().len(), 3);
    assert_eq!(ctl.json(&["user", "list"]).as_array().unwrap().len(), 2);
    for (password, next) in [(PASSWORD, "the second one"), ("the second one", "the third one")] {
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            let query = format!("/update?hostname=pc.{ZONE}&myip={address}");
            let update = || scene.daemon.get(&query).user("alice", password).send();
            update().is(200, &format!("good {address}\n"));
            update().is(200, &format!("nochg {address}\n"));
            assert_eq!(ctl.host(&format!("pc.{ZONE}")).ipv4.as_deref(), Some(address));
            assert_eq!(scene.a("pc"), [address]);
        }
        let passwd = ["user", "passwd", "alice", "--password-stdin"];
        ctl.run_with_input(&passwd, &format!("{next}\n")).ok();
        let revoked = scene.daemon.get(&format!("/update?hostname=pc.{ZONE}&myip=192.0.2.9"));
        revoked.user("alice", password).send().is(401, "badauth\n");
    }
    ctl.run(&["hostname", "delete", "tv", ZONE]).ok();
    ctl.run(&["hostname", "show", "tv", ZONE]).exits(1);
    ctl.run(&["user", "delete", "bob"]).ok();
    assert_eq!(ctl.json(&["user", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_mariadb_database_that_lacks_a_table_or_a_column_is_refused_at_the_start() {
    let named = Named::start();
    for (loss, what) in [
        ("DROP TABLE touches;", "touches"),
        ("ALTER TABLE hosts DROP COLUMN last_error;", "last_error"),
    ] {
        let account = Mariadb::shared().account();
        let setup = Daemon::builder(&named).on_mariadb(account.clone());
        setup.run(&["--init-db"]).ok();
        account.sql(loss);
        refuses(&setup, &[&account.database, what, "restore a backup"]);
    }
}

//----- TLS -----

#[test]
fn tls_to_mariadb_is_what_the_configuration_says() {
    let (ours, other) = (Authority::new(), Authority::new());
    let proof = ours.sign("localhost");
    let server = Mariadb::start_with(&[
        &format!("--ssl-ca={}", ours.certificate().display()),
        &format!("--ssl-cert={}", proof.certificate.display()),
        &format!("--ssl-key={}", proof.key.display()),
    ]);
    let named = Named::start();
    let account = server.account();
    let fresh = |tls: &str, host: &str| {
        // an account that the server lets in by TLS only shows that it was used
        server.administer(&format!(
            "DROP DATABASE {db}; CREATE DATABASE {db}; ALTER USER {user}@'%' REQUIRE SSL;",
            db = account.database,
            user = account.user
        ));
        let setup = Daemon::builder(&named).on_mariadb(account.clone());
        setup.set("database.tls", tls).set("database.host", host)
    };
    let (right, wrong) = (ours.certificate(), other.certificate());
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());

    works(fresh("preferred", "127.0.0.1"));
    works(fresh("required", "127.0.0.1"));
    works(fresh("required", "localhost").set("database.tls_ca_file", wrong)); // not verified
    works(fresh("verify", "localhost").set("database.tls_ca_file", right));
    refuses(&fresh("disabled", "127.0.0.1"), &[&account.user]);
    let other_authority = fresh("verify", "localhost").set("database.tls_ca_file", wrong);
    refuses(&other_authority, &["localhost", "certificate", "database.tls and tls_ca_file"]);
    refuses(&fresh("verify", "localhost"), &["localhost", "certificate"]);
    // the system's roots, where they are
    works(fresh("verify", "localhost").wrapped_in(&["env", &format!("SSL_CERT_FILE={right}")]));
    let other_name = fresh("verify", "127.0.0.1").set("database.tls_ca_file", right);
    refuses(&other_name, &["127.0.0.1", "certificate"]);
    let no_file = fresh("verify", "localhost").set("database.tls_ca_file", "/no/such/ca.pem");
    no_file.run(&[]).exits(78).prints(&["/no/such/ca.pem"]);
}

/// A server with a certificate for localhost.
fn with_certificate(authority: &Authority) -> Mariadb {
    let proof = authority.sign("localhost");
    Mariadb::start_with(&[
        &format!("--ssl-cert={}", proof.certificate.display()),
        &format!("--ssl-key={}", proof.key.display()),
    ])
}

#[test]
fn a_socket_is_encrypted_only_if_required_and_closing_it_logs_no_warning() {
    let authority = Authority::new();
    let server = with_certificate(&authority);
    let named = Named::start();
    for (tls, encrypted) in [("preferred", false), ("required", true)] {
        let account = server.account();
        let socket = account.socket.to_str().unwrap().to_owned();
        let setup = Daemon::builder(&named).on_mariadb(account.clone());
        let setup = setup.set("database.socket", socket).set("database.tls", tls);
        let made = setup.run(&["--init-db"]).ok();
        assert!(!made.output().contains("WARN"), "{made}");
        let mut daemon = setup.start();
        daemon.ctl().add_user("alice");
        assert!(daemon.terminate().success());
        let log = daemon.log();
        assert!(!log.contains("WARN") && !log.contains("closing the database"), "{log}");
        server.administer(&format!("ALTER USER {}@'%' REQUIRE SSL;", account.user));
        let started = daemon.setup().run(&["--init-db"]);
        assert_eq!(started.code == Some(0), encrypted, "{started}");
    }
}

#[test]
fn before_1970_tls_to_mariadb_is_left_out_or_refused_with_the_cause() {
    let authority = Authority::new();
    let server = with_certificate(&authority);
    let named = Named::start();
    let account = server.account();
    let setup = |tls: &str| {
        let setup = Daemon::builder(&named).on_mariadb(account.clone());
        let setup = setup.set("database.host", "127.0.0.1").set("database.tls", tls);
        with_clock(setup, BEFORE_1970).0
    };
    setup("preferred").start().ctl().add_user("alice");
    refuses(&setup("required"), &["before 1970", "database.tls"]);
}

#[test]
fn a_mariadb_without_tls_is_refused_where_tls_is_required() {
    let named = Named::start();
    let fresh = |tls: &str| {
        let setup = Daemon::builder(&named).on_mariadb(Mariadb::shared().account());
        setup.set("database.tls", tls)
    };
    works(fresh("disabled"));
    works(fresh("preferred"));
    refuses(&fresh("required"), &["TLS"]);
    refuses(&fresh("verify"), &["TLS"]);
}

//----- Outages -----

/// A daemon on a server of its own, and hosts `h0` … of alice.
fn outage_scene(server: &Mariadb) -> Scene {
    let scene = Scene::with(|setup| {
        let setup = setup.on_mariadb(server.account()).set("dns_service.dns_timeout", 1);
        setup.set("daemon.request_timeout", REQUEST_TIMEOUT.cast_signed())
    });
    let labels: Vec<_> = (0..CLIENTS).map(|host| format!("h{host}")).collect();
    scene.add_hosts(&labels.iter().map(String::as_str).collect::<Vec<_>>());
    scene
}

#[test]
fn what_the_database_answers_is_shown_and_the_rest_is_unknown() {
    let mut server = Mariadb::start();
    let scene = outage_scene(&server);
    let ctl = scene.ctl();
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "good 192.0.2.1\n");
    server.administer("SET GLOBAL read_only = ON;");
    // a keepalive that waits to be written
    scene.update("hostname=pc.dyn.example&myip=192.0.2.1").is(200, "nochg 192.0.2.1\n");
    assert_eq!(ctl.host("pc.dyn.example").ipv4.as_deref(), Some("192.0.2.1"));
    ctl.run(&["hostname", "show", "pc", ZONE]).ok();
    ctl.run(&["export"]).ok();
    assert_eq!(ctl.json(&["status"])["users"], 1);
    ctl.run(&["user", "email", "alice", "other@example.org"]).exits(1);
    ctl.run(&["status"])
        .ok()
        .prints(&["the database takes no changes: changes have not been written for"]);
    let status = ctl.json(&["status"]);
    assert_eq!((&status["users"], &status["database_reachable"]), (&1.into(), &true.into()));
    server.administer("SET GLOBAL read_only = OFF;");
    ctl.run(&["user", "email", "alice", "other@example.org"]).ok();
    assert!(ctl.json(&["status"])["database_write_error"].is_null());
    server.stop();
    let status = ctl.json(&["status"]);
    assert_eq!(status["database_reachable"], false, "{status}");
    for unknown in ["users", "hostnames", "pending"] {
        assert!(status[unknown].is_null(), "{status}");
    }
    ctl.run(&["hostname", "add", "alice", "nas", ZONE])
        .exits(1)
        .prints(&["database"])
        .one_sentence();
}

/// Updates one host without a pause until `enough`; answers the address of the last `good`, which
/// was the last answer of all.
fn update_until(scene: &Scene, host: usize, phase: &Phase) -> String {
    let server = scene.daemon.address();
    for i in 0_usize.. {
        let address = format!("198.{}.{}.{}", 18 + i / 65_536 % 2, i / 256 % 256, i % 256);
        let path = format!("/update?hostname=h{host}.{ZONE}&myip={address}");
        let away = phase.away();
        let start = Instant::now();
        let reply = quick_get(server, &path, "alice", PASSWORD).expect("a reply, and no hang-up");
        let took = start.elapsed();
        let bound = Duration::from_secs(REQUEST_TIMEOUT + 2);
        assert!(took < bound, "it took {took:?} to answer {reply}");
        if reply.body == format!("good {address}\n") {
            let was_away = away && phase.away();
            assert!(!was_away, "good without a database: {reply}");
            if phase.over() {
                return address;
            }
        } else {
            // a request may meet the end of the outage, too
            assert_eq!((reply.status, reply.body.as_str()), (503, "911\n"), "{reply}");
            assert_eq!(reply.retry_after(), 30);
            phase.refused.store(true, Ordering::Relaxed);
        }
    }
    unreachable!("the outage is over long before")
}

/// How far the outage is.
#[derive(Default)]
struct Phase {
    away: AtomicBool,
    over: AtomicBool,
    refused: AtomicBool,
}

impl Phase {
    fn away(&self) -> bool {
        self.away.load(Ordering::SeqCst)
    }
    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Clients under load while `away` makes the server go and `back` makes it return.
fn survives(
    server: &mut Mariadb,
    away: impl FnOnce(&mut Mariadb),
    back: impl FnOnce(&mut Mariadb),
) {
    let scene = outage_scene(server);
    let phase = Phase::default();
    std::thread::scope(|threads| {
        // a failure here must not leave the clients asking for ever
        let _over = Over(&phase);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|host| {
                let (scene, phase) = (&scene, &phase);
                threads.spawn(move || update_until(scene, host, phase))
            })
            .collect();
        eventually(RECOVERY, "a load of published hosts", || {
            let published = scene.ctl().hosts().iter().filter(|host| host.ipv4.is_some()).count();
            if published == CLIENTS { Ok(()) } else { Err(format!("{published} hosts")) }
        });
        away(server);
        phase.away.store(true, Ordering::SeqCst);
        eventually(RECOVERY, "a client to be answered 911", || {
            let refused = phase.refused.load(Ordering::Relaxed);
            if refused { Ok(()) } else { Err("none yet".to_owned()) }
        });
        administration_says_so(&scene);
        phase.away.store(false, Ordering::SeqCst);
        back(server);
        phase.over.store(true, Ordering::SeqCst);
        let back_at = Instant::now();
        for (host, client) in clients.into_iter().enumerate() {
            let address = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert_eq!(scene.a(&format!("h{host}")).join(" "), address, "the last good of h{host}");
            let kept = scene.ctl().host(&format!("h{host}.{ZONE}")).ipv4;
            assert_eq!(kept, Some(address), "the last good of h{host} in the database");
        }
        let took = back_at.elapsed();
        assert!(took < RECOVERY, "it took {took:?} until every client had a good again");
    });
    eventually_equals(RECOVERY, "every host to be published", &Vec::<String>::new(), || {
        let hosts = scene.ctl().hosts().into_iter();
        hosts.filter(|host| !host.published).map(|host| host.fqdn).collect()
    });
    scene.ctl().add_user("bob");
    let log = scene.daemon.log();
    assert!(!log.contains("panicked") && !log.contains("pässword"), "the log: {log}");
}

/// Ends the clients' load when it is dropped.
struct Over<'p>(&'p Phase);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.away.store(false, Ordering::SeqCst);
        self.0.over.store(true, Ordering::SeqCst);
    }
}

/// Without its database the daemon still answers its administrators, in a sentence.
#[track_caller]
fn administration_says_so(scene: &Scene) {
    let ctl = scene.ctl();
    ctl.run(&["user", "list"]).exits(1).prints(&["database"]).one_sentence();
    ctl.run(&["hostname", "list"]).exits(1).prints(&["database"]).one_sentence();
    ctl.add_user_with("carol", "a password").exits(1).prints(&["database"]).one_sentence();
    ctl.run(&["hostname", "delete", "h0", ZONE]).exits(1).prints(&["database"]).one_sentence();
    let status = ctl.json(&["status"]);
    assert_eq!(status["database_reachable"], false, "{status:#}");
}

#[test]
fn a_mariadb_that_is_stopped_and_started_under_load_costs_911_meanwhile_and_nothing_else() {
    let mut server = Mariadb::start();
    survives(&mut server, Mariadb::stop, Mariadb::start_again);
}

#[test]
fn a_mariadb_that_hangs_under_load_costs_911_meanwhile_and_nothing_else() {
    let mut server = Mariadb::start();
    survives(
        &mut server,
        |server| server.signal(Signal::SIGSTOP),
        |server| server.signal(Signal::SIGCONT),
    );
}

#[test]
fn connections_that_mariadb_closed_for_idling_cost_no_update() {
    let server = Mariadb::start_with(&["--wait-timeout=1"]);
    let scene = Scene::with(|setup| setup.on_mariadb(server.account()));
    for last in 1..=2 {
        std::thread::sleep(Duration::from_millis(2200)); // the idling itself
        let address = format!("192.0.2.{last}");
        let update = scene.update(&format!("hostname=pc.dyn.example&myip={address}"));
        update.is(200, &format!("good {address}\n"));
        assert_eq!(scene.ctl().hosts().len(), 1);
    }
}

#[test]
fn an_account_may_have_as_few_connections_as_pool_size_or_two() {
    let server = Mariadb::start();
    let account = server.account();
    let limit = |connections: u32| {
        let user = &account.user;
        server
            .administer(&format!("ALTER USER {user}@'%' WITH MAX_USER_CONNECTIONS {connections};"));
    };
    limit(3);
    let pool = |size: u32| {
        let account = account.clone();
        move |setup: Setup| setup.on_mariadb(account).set("database.pool_size", size)
    };
    let mut scene = Scene::with(pool(3));
    let labels: Vec<_> = (0..10).map(|number| format!("h{number}")).collect();
    scene.add_hosts(&labels.iter().map(String::as_str).collect::<Vec<_>>());
    let all_at_once = |scene: &Scene, last: u8| {
        std::thread::scope(|threads| {
            for label in &labels {
                let query = format!("hostname={label}.{ZONE}&myip=192.0.2.{last}");
                threads
                    .spawn(move || scene.update(&query).is(200, &format!("good 192.0.2.{last}\n")));
            }
        });
    };
    all_at_once(&scene, 1);
    // an import takes a place of a reader
    let export = scene.ctl().run(&["export"]).ok().stdout;
    scene.ctl().run_with_input(&["import", "--skip-existing", "-"], &export).ok();
    assert!(!scene.daemon.log().contains("no more connections"), "{}", scene.daemon.log());

    assert!(scene.daemon.terminate().success());
    limit(2);
    scene.daemon.reconfigure(|setup| setup.set("database.pool_size", 5));
    scene.daemon.start_again();
    all_at_once(&scene, 2);
    let log = scene.daemon.log();
    assert!(log.contains("lower database.pool_size"), "{log}");

    assert!(scene.daemon.terminate().success());
    limit(1);
    let refused = scene.daemon.setup().run(&[]);
    refused.exits(1).prints(&["database.pool_size", "MAX_USER_CONNECTIONS"]).one_sentence();
}

#[test]
fn every_table_is_innodb_and_utf8mb4_and_a_current_schema_needs_no_right_to_change_it() {
    let server = Mariadb::start_with(&["--default-storage-engine=MyISAM"]);
    let account = server.account();
    let (database, user) = (account.database.clone(), account.user.clone());
    let mut scene = Scene::with(|setup| setup.on_mariadb(account.clone()));
    let others = account.sql(&format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}'
         AND (engine <> 'InnoDB' OR table_collation <> 'utf8mb4_nopad_bin');"
    ));
    assert_eq!(others.trim(), "", "tables with other engines or character sets");
    assert!(scene.daemon.terminate().success());
    server.administer(&format!(
        "REVOKE ALL ON {database}.* FROM {user}@'%';
         GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO {user}@'%';"
    ));
    scene.daemon.start_again();
    scene.update(&format!("hostname=pc.{ZONE}&myip=192.0.2.1")).is(200, "good 192.0.2.1\n");
}
