-- Events that are not repeated after a time, and events that are to be
-- appended later.

-- After this moment an event is neither replayed nor shown in history; 0 is
-- never. It is kept as long as any other, so that its key goes on to hold.
ALTER TABLE events ADD COLUMN expires INTEGER NOT NULL DEFAULT 0;

-- What one call asked for, to one topic or to many. When it is due, its
-- events are appended and its row removed in one transaction.
CREATE TABLE scheduled (
    n       INTEGER PRIMARY KEY,        -- the order in which they were scheduled
    id      TEXT    NOT NULL UNIQUE,
    due     INTEGER NOT NULL,           -- ms since 1970 UTC, like all times
    made    INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    sender  TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    expires INTEGER NOT NULL,           -- of the events; 0: never
    count   INTEGER NOT NULL,           -- how many topics
    topics  TEXT    NOT NULL,           -- one a line: no topic holds a line's end
    body    TEXT    NOT NULL            -- JSON
) STRICT;
CREATE INDEX scheduled_due ON scheduled (due, n);
CREATE INDEX scheduled_key ON scheduled (key, sender) WHERE key <> '';
