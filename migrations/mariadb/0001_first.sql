-- MariaDB does not roll DDL back. A migration that failed is run again from its start, so each statement
-- must do nothing where its work is done.
-- Times are milliseconds since 1970 UTC. Text is compared byte by byte, spaces at the end included.
-- suspended_at NULL: not suspended.
CREATE TABLE IF NOT EXISTS users (
    id            BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name          VARCHAR(64)  NOT NULL,
    email         VARCHAR(254) NOT NULL,
    password_hash VARCHAR(1024) NOT NULL,
    suspended_at  BIGINT,
    created_at    BIGINT       NOT NULL,
    changed_at    BIGINT       NOT NULL,
    version       BIGINT       NOT NULL DEFAULT 1,
    UNIQUE KEY users_by_name (name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

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
CREATE TABLE IF NOT EXISTS hosts (
    id                BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id           BIGINT       NOT NULL,
    label             VARCHAR(253) NOT NULL,
    zone              VARCHAR(253) NOT NULL,
    fqdn              VARCHAR(253) NOT NULL,
    dns_ttl           BIGINT,
    expiry_ttl        BIGINT,
    ipv6_suffix       VARCHAR(45),
    follows           BIGINT,
    ipv6_prefix       VARCHAR(49),
    is_offline        BIGINT       NOT NULL DEFAULT 0,
    state4            BIGINT       NOT NULL DEFAULT 0,
    ipv4              VARCHAR(15),
    state6            BIGINT       NOT NULL DEFAULT 0,
    ipv6              VARCHAR(45),
    acked_ipv4        VARCHAR(15),
    acked_ipv6        VARCHAR(45),
    acked_ttl         BIGINT,
    last_ipv4         VARCHAR(15),
    last_ipv6         VARCHAR(45),
    set4_at           BIGINT,
    set6_at           BIGINT,
    set4_uptime       BIGINT,
    set6_uptime       BIGINT,
    unpublished_since BIGINT,
    attempts          BIGINT       NOT NULL DEFAULT 0,
    last_error        TEXT,
    unserved_since    BIGINT,
    unserved          TEXT,
    served_ttl        BIGINT,
    expired_at        BIGINT,
    suspended_at      BIGINT,
    notice            TEXT,
    leased_by         VARCHAR(255),
    leased_until      BIGINT,
    check_at          BIGINT,
    version           BIGINT       NOT NULL DEFAULT 1,
    created_at        BIGINT       NOT NULL,
    changed_at        BIGINT       NOT NULL,
    UNIQUE KEY hosts_by_fqdn (fqdn),
    KEY hosts_by_user (user_id, fqdn),
    KEY hosts_by_zone (zone, fqdn),
    KEY hosts_unpublished (unpublished_since),
    KEY hosts_unserved (unserved_since),
    KEY hosts_check_at (check_at),
    KEY hosts_by_leader (follows, id),
    CONSTRAINT hosts_user FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT hosts_leader FOREIGN KEY (follows) REFERENCES hosts (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Updates that changed nothing. A narrow table, because every keepalive rewrites its row.
CREATE TABLE IF NOT EXISTS touches (
    host_id     BIGINT NOT NULL PRIMARY KEY,
    ipv4_at     BIGINT,
    ipv6_at     BIGINT,
    ipv4_uptime BIGINT,
    ipv6_uptime BIGINT,
    CONSTRAINT touches_host FOREIGN KEY (host_id) REFERENCES hosts (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS outbox (
    id            BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    kind          VARCHAR(32)  NOT NULL,
    recipient     VARCHAR(254) NOT NULL,
    variables     TEXT         NOT NULL,
    message_id    VARCHAR(255) NOT NULL,
    created_at    BIGINT       NOT NULL,
    next_at       BIGINT       NOT NULL,
    attempts      BIGINT       NOT NULL DEFAULT 0,
    claimed_by    VARCHAR(64),
    claimed_until BIGINT,
    last_error    TEXT,
    failed_at     BIGINT,
    UNIQUE KEY outbox_by_message_id (message_id),
    KEY outbox_due (failed_at, next_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- target: the name server that acknowledged acked_*.
-- uptime: the service clock. Milliseconds that ddnsd ran on a database that took writes.
-- checker: which of several daemons checks all hosts, and until when.
CREATE TABLE IF NOT EXISTS meta (
    name  VARCHAR(64) NOT NULL PRIMARY KEY,
    value LONGTEXT    NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
INSERT IGNORE INTO meta (name, value) VALUES ('uptime', '0'), ('checker', '');

-- The last request that named a host, and the client of the last one whose password was right. A narrow table, because every keepalive rewrites its row.
CREATE TABLE IF NOT EXISTS last_requests (
    host_id      BIGINT       NOT NULL PRIMARY KEY,
    received_at  BIGINT       NOT NULL,
    client       VARCHAR(45)  NOT NULL,
    updated_from VARCHAR(45),
    user_agent   VARCHAR(200),
    return_code  VARCHAR(32)  NOT NULL,
    reason       TEXT,
    CONSTRAINT last_requests_host FOREIGN KEY (host_id) REFERENCES hosts (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
