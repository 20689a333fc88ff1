-- The log: one row for each event, appended in the order of the commits and
-- never changed. A commit touches this table (and the row of a new topic)
-- alone; its indexes, topic_events and event_keys, are written behind in bulk
-- up to log.indexed, because a random page for each event is what costs.

CREATE TABLE log (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    epoch   TEXT    NOT NULL,           -- names this log; '' in a backup: the next open makes one
    boot    TEXT    NOT NULL,           -- which open of the file wrote last; also in teahouse.seal
    stopped TEXT    NOT NULL,           -- 'clean', or the durability of an open that has not ended
    indexed INTEGER NOT NULL,           -- events up to here are in topic_events and event_keys
    floor   INTEGER NOT NULL            -- a new event's seq is above this, whatever was removed
) STRICT;
INSERT INTO log VALUES (1, '', '', 'clean', 0, 0);

CREATE TABLE topics (
    id     INTEGER PRIMARY KEY,
    name   TEXT    NOT NULL UNIQUE,
    pruned INTEGER NOT NULL DEFAULT 0   -- the highest seq that retention removed
) STRICT;

-- The two users of a dm: topic.
CREATE TABLE talk_members (
    user     TEXT    NOT NULL,
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    PRIMARY KEY (user, topic_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    seq      INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    key_hash INTEGER,                   -- the first 8 bytes of a SHA-256, NULL without a key
    at       INTEGER NOT NULL,          -- ms since 1970 UTC
    kind     TEXT    NOT NULL,
    sender   TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    body     TEXT    NOT NULL           -- JSON; last, so that the other columns are read without it
) STRICT;

CREATE TABLE topic_events (
    topic_id INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    PRIMARY KEY (topic_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE event_keys (
    hash INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (hash, seq)
) STRICT, WITHOUT ROWID;

-- One connection of one device of one user.
CREATE TABLE sessions (
    id        TEXT    PRIMARY KEY,
    user      TEXT    NOT NULL,
    device    TEXT    NOT NULL,
    dialect   TEXT    NOT NULL,
    addr      TEXT    NOT NULL,
    agent     TEXT    NOT NULL,
    opened    INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    ended     INTEGER NOT NULL,         -- 0 while it is online
    reason    TEXT    NOT NULL,
    epoch     TEXT    NOT NULL,
    topics    TEXT    NOT NULL          -- JSON: topic -> the last seq handed to the socket
) STRICT;
CREATE INDEX sessions_user   ON sessions (user, opened);
CREATE INDEX sessions_ended  ON sessions (ended, opened);
CREATE INDEX sessions_opened ON sessions (opened);

CREATE TABLE api_keys (
    id           TEXT    PRIMARY KEY,
    name         TEXT    NOT NULL,
    hash         BLOB    NOT NULL UNIQUE,   -- SHA-256 of the key; the key itself is kept nowhere
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER NOT NULL DEFAULT 0,
    last_used_at INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The first answer to a POST that named an Idempotency-Key.
CREATE TABLE idempotency (
    key          TEXT    PRIMARY KEY,
    request_hash BLOB    NOT NULL,          -- SHA-256 of the request's body
    status       INTEGER NOT NULL,
    content_type TEXT    NOT NULL,
    answer       BLOB    NOT NULL,
    at           INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_at ON idempotency (at);
