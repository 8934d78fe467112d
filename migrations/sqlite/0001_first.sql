-- Times are milliseconds since 1970 UTC. Text is compared byte by byte.
-- suspended_at NULL: not suspended.
-- AUTOINCREMENT: a key is never used again, so an unwritten keepalive of a deleted host hits no other host.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE,
    email         TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    suspended_at  INTEGER,
    created_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    version       INTEGER NOT NULL DEFAULT 1
) STRICT;

-- DNS should hold (state4, ipv4) and (state6, ipv6); state: 0 never set, 1 present, 2 absent.
-- unpublished_since NULL: DNS is known to hold it. acked_*: what DNS last acknowledged.
-- unserved_since, unserved: since when, and why, DNS does not serve what it acknowledged; NULL: no check says so.
-- expired_at: when the last change was the expiry of a family; NULL: it was not.
-- served_ttl: the TTL that DNS serves, if it is not the one it acknowledged.
-- ipv6_suffix: what stays of the IPv6 address when the prefix changes. follows: the leader, whose prefix it takes.
-- ipv6_prefix: the last prefix of a leader. is_offline: by a request of its own, so the leader leaves it alone.
-- leased_by: the daemon that has to publish it, if there may be several; leased_until: until when others wait.
-- set4_at, set6_at: the last update that changed something; updates that changed nothing are in touches.
-- set4_uptime, set6_uptime: the same on the service clock. check_at is on that clock too.
CREATE TABLE hosts (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id           INTEGER NOT NULL REFERENCES users (id),
    label             TEXT    NOT NULL,
    zone              TEXT    NOT NULL,
    fqdn              TEXT    NOT NULL UNIQUE,
    dns_ttl           INTEGER,
    expiry_ttl        INTEGER,
    ipv6_suffix       TEXT,
    follows           INTEGER REFERENCES hosts (id),
    ipv6_prefix       TEXT,
    is_offline        INTEGER NOT NULL DEFAULT 0,
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
    set4_uptime       INTEGER,
    set6_uptime       INTEGER,
    unpublished_since INTEGER,
    attempts          INTEGER NOT NULL DEFAULT 0,
    last_error        TEXT,
    unserved_since    INTEGER,
    unserved          TEXT,
    served_ttl        INTEGER,
    expired_at        INTEGER,
    suspended_at      INTEGER,
    notice            TEXT,
    leased_by         TEXT,
    leased_until      INTEGER,
    check_at          INTEGER,
    version           INTEGER NOT NULL DEFAULT 1,
    created_at        INTEGER NOT NULL,
    changed_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX hosts_by_user ON hosts (user_id, fqdn);
CREATE INDEX hosts_by_zone ON hosts (zone, fqdn);
-- Without the hosts that have none: otherwise each update of one among many rewrites a page of each index.
CREATE INDEX hosts_unpublished ON hosts (unpublished_since) WHERE unpublished_since IS NOT NULL;
CREATE INDEX hosts_unserved ON hosts (unserved_since) WHERE unserved_since IS NOT NULL;
CREATE INDEX hosts_check_at ON hosts (check_at) WHERE check_at IS NOT NULL;
CREATE INDEX hosts_by_leader ON hosts (follows, id) WHERE follows IS NOT NULL;

-- Updates that changed nothing. A narrow table, because every keepalive rewrites its row.
CREATE TABLE touches (
    host_id     INTEGER PRIMARY KEY REFERENCES hosts (id) ON DELETE CASCADE,
    ipv4_at     INTEGER,
    ipv6_at     INTEGER,
    ipv4_uptime INTEGER,
    ipv6_uptime INTEGER
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

-- target: the name server that acknowledged acked_*.
-- uptime: the service clock. Milliseconds that ddnsd ran on a database that took writes.
-- checker: which of several daemons checks all hosts, and until when.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;
INSERT INTO meta (name, value) VALUES ('uptime', '0'), ('checker', '');

-- The last request that named a host, and the client of the last one whose password was right. A narrow table, because every keepalive rewrites its row.
CREATE TABLE last_requests (
    host_id      INTEGER PRIMARY KEY REFERENCES hosts (id) ON DELETE CASCADE,
    received_at  INTEGER NOT NULL,
    client       TEXT    NOT NULL,
    updated_from TEXT,
    user_agent   TEXT,
    return_code  TEXT    NOT NULL,
    reason       TEXT
) STRICT;
