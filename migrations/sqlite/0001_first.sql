-- Times are milliseconds since 1970 UTC. Text is compared byte by byte.
-- AUTOINCREMENT: a key is never used again, so what memory still knows of a deleted row hits nothing.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE,
    email         TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    version       INTEGER NOT NULL DEFAULT 1
) STRICT;

-- What DNS should hold is (state4, ipv4) and (state6, ipv6); state: 0 never set, 1 present, 2 absent.
-- unpublished_since NULL: DNS is known to hold it. acked_*: what DNS last acknowledged.
-- set4_at, set6_at: the last update that changed something; those that changed nothing are in touches.
CREATE TABLE hosts (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id           INTEGER NOT NULL REFERENCES users (id),
    label             TEXT    NOT NULL,
    zone              TEXT    NOT NULL,
    fqdn              TEXT    NOT NULL UNIQUE,
    dns_ttl           INTEGER,
    expiry_ttl        INTEGER,
    state4            INTEGER NOT NULL DEFAULT 0,
    ipv4              TEXT,
    state6            INTEGER NOT NULL DEFAULT 0,
    ipv6              TEXT,
    acked_ipv4        TEXT,
    acked_ipv6        TEXT,
    acked_ttl         INTEGER,
    last_ipv4         TEXT,
    last_ipv6         TEXT,
    set4_at           INTEGER,
    set6_at           INTEGER,
    unpublished_since INTEGER,
    attempts          INTEGER NOT NULL DEFAULT 0,
    last_error        TEXT,
    notice            TEXT,
    turn_by           TEXT,
    turn_until        INTEGER,
    check_at          INTEGER,
    version           INTEGER NOT NULL DEFAULT 1,
    created_at        INTEGER NOT NULL,
    changed_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX hosts_by_user ON hosts (user_id, fqdn);
CREATE INDEX hosts_by_zone ON hosts (zone, fqdn);
CREATE INDEX hosts_unpublished ON hosts (unpublished_since);
CREATE INDEX hosts_check_at ON hosts (check_at);

-- Narrow, so that a million keepalives rewrite no wide row.
CREATE TABLE touches (
    host_id INTEGER PRIMARY KEY REFERENCES hosts (id) ON DELETE CASCADE,
    ipv4_at INTEGER,
    ipv6_at INTEGER
) STRICT;

CREATE TABLE outbox (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT    NOT NULL,
    recipient     TEXT    NOT NULL,
    variables     TEXT    NOT NULL,
    message_id    TEXT    NOT NULL UNIQUE,
    created_at    INTEGER NOT NULL,
    next_at       INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    claimed_by    TEXT,
    claimed_until INTEGER,
    last_error    TEXT,
    failed_at     INTEGER
) STRICT;
CREATE INDEX outbox_due ON outbox (failed_at, next_at);

-- target: the name server that acked_* speak of. heartbeat: when ddnsd was last known to run.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;
