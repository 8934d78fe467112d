-- The last request that named a host: when, from where, by what, and what came of it.
-- Narrow and apart from hosts, because it is rewritten by every router's keepalive.
CREATE TABLE IF NOT EXISTS requests (
    host_id BIGINT       NOT NULL PRIMARY KEY,
    seen_at BIGINT       NOT NULL,
    client  VARCHAR(45)  NOT NULL,
    agent   VARCHAR(200),
    word    VARCHAR(32)  NOT NULL,
    reason  TEXT,
    CONSTRAINT requests_host FOREIGN KEY (host_id) REFERENCES hosts (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
