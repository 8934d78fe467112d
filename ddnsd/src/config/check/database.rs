//! `[database]`: SQLite or MariaDB. Of the unused one only the types of the keys are checked.

use super::section::Section;
use crate::config::files::NamedFiles;
use crate::config::{Database, DatabaseTls, MariaDb};

#[derive(Clone, Copy, PartialEq, Eq)]
enum DatabaseBackendName {
    Sqlite,
    Mariadb,
}

const BACKENDS: &[(&str, DatabaseBackendName)] =
    &[("sqlite", DatabaseBackendName::Sqlite), ("mariadb", DatabaseBackendName::Mariadb)];

const TLS: &[(&str, DatabaseTls)] = &[
    ("disabled", DatabaseTls::Disabled),
    ("preferred", DatabaseTls::Preferred),
    ("required", DatabaseTls::Required),
    ("verify", DatabaseTls::Verify),
];

pub(super) fn read(section: &mut Section<'_>, files: &mut NamedFiles) -> Database {
    let backend = section.choice("backend", DatabaseBackendName::Sqlite, BACKENDS);
    let pool_size = section.number("pool_size", 1..=1024, 5);
    let sqlite = (backend == DatabaseBackendName::Sqlite && section.is_sound("database.backend"))
        .then_some("with the sqlite backend");
    let path = section.required("path", sqlite);
    let mariadb = mariadb(section, pool_size);
    let password_file = section.file("password_file");
    let ca_file = section.file("tls_ca_file");

    if !mariadb.password.expose().is_empty() {
        files.secret_inside = Some(section.location("password"));
    }
    if backend == DatabaseBackendName::Sqlite {
        return Database::Sqlite { path: path.into(), pool_size };
    }
    section.not_empty(&[
        ("host", &mariadb.host),
        (section.either("user", "username"), &mariadb.user),
        (section.either("name", "database"), &mariadb.name),
    ]);
    if password_file.is_some() && files.secret_inside.is_some() {
        section.problem("password_file", "must not be given beside database.password");
    }
    files.database_password = password_file;
    files.authorities.extend(ca_file.clone().filter(|_| mariadb.tls == DatabaseTls::Verify));
    Database::Mariadb(MariaDb { tls_ca_file: ca_file.map(|file| file.path), ..mariadb })
}

fn mariadb(section: &mut Section<'_>, pool_size: u32) -> MariaDb {
    let socket = section.text("socket", "");
    MariaDb {
        host: section.text("host", "localhost"),
        port: section.number("port", 1..=u16::MAX, 3306),
        socket: (!socket.is_empty()).then(|| socket.into()),
        user: section.alias("user", "username", "ddns"),
        password: section.secret("password"),
        name: section.alias("name", "database", "ddns"),
        tls: section.choice("tls", DatabaseTls::Preferred, TLS),
        tls_ca_file: None,
        pool_size,
    }
}
