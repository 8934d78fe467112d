-- The last request that named a host: when, from where, by what, and what came of it.
-- Narrow and apart from hosts, because it is rewritten by every router's keepalive.
CREATE TABLE requests (
    host_id INTEGER PRIMARY KEY REFERENCES hosts (id) ON DELETE CASCADE,
    seen_at INTEGER NOT NULL,
    client  TEXT    NOT NULL,
    agent   TEXT,
    word    TEXT    NOT NULL,
    reason  TEXT
) STRICT;
