-- What people keep of their talks: read positions, kept and muted rooms.

-- One user's mark of one topic. The topic need not hold anything yet, so it is
-- named and not referred to.
CREATE TABLE marks (
    user  TEXT    NOT NULL,
    topic TEXT    NOT NULL,
    read  INTEGER NOT NULL,             -- all up to this seq has been read
    muted INTEGER NOT NULL,             -- 0 or 1: no notifications
    kept  INTEGER NOT NULL,             -- 0 or 1: it is in the user's list
    at    INTEGER NOT NULL,             -- when it was changed last, in µs since 1970 UTC; no two are equal
    PRIMARY KEY (user, topic)
) STRICT, WITHOUT ROWID;
