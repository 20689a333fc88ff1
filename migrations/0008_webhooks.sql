-- Events that are told to other servers over HTTP. A row of webhook_deliveries
-- is written in the transaction that appends its event, so none is lost.

CREATE TABLE webhooks (
    id            TEXT    PRIMARY KEY,
    url           TEXT    NOT NULL,
    note          TEXT    NOT NULL,
    kinds         TEXT    NOT NULL,        -- one a line
    topics        TEXT    NOT NULL,        -- one a line
    private       INTEGER NOT NULL,        -- 1: may be at a private address
    secret        BLOB    NOT NULL,        -- as it is: it signs
    old_secret    BLOB    NOT NULL,        -- signs as well until old_until; x'' is none
    old_until     INTEGER NOT NULL,        -- ms since 1970 UTC, like all times
    created_at    INTEGER NOT NULL,
    failing_since INTEGER NOT NULL,        -- 0: it does not fail
    disabled_at   INTEGER NOT NULL,        -- 0: it is told of events
    disabled_why  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Within a lane (a voucher, or else a topic) of an endpoint one waits for the
-- one before it: only the first that waits has a due.
CREATE TABLE webhook_deliveries (
    webhook  TEXT    NOT NULL,
    seq      INTEGER NOT NULL,             -- of the event
    message  TEXT    NOT NULL,             -- the webhook-id
    lane     TEXT    NOT NULL,
    topic    TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    sender   TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    state    TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
    since    INTEGER NOT NULL,             -- when its three days began
    due      INTEGER NOT NULL,             -- 0: waits for another, or has ended
    attempts INTEGER NOT NULL,
    tried_at INTEGER NOT NULL,
    status   INTEGER NOT NULL,             -- HTTP; 0: no answer
    error    TEXT    NOT NULL,
    ended_at INTEGER NOT NULL,
    body     TEXT    NOT NULL,             -- of a voucher's event, JSON; '': it is in events
    UNIQUE (webhook, seq)
) STRICT;
CREATE INDEX webhook_waiting ON webhook_deliveries (webhook, lane, seq) WHERE state = 'waiting';
CREATE INDEX webhook_due     ON webhook_deliveries (webhook, due)       WHERE due > 0;
CREATE INDEX webhook_ended   ON webhook_deliveries (state, ended_at)    WHERE ended_at > 0;
