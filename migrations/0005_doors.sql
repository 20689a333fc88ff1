-- Rooms with a code, and names that belong to somebody.

-- A room that is not here has no code.
CREATE TABLE room_codes (
    topic  TEXT    PRIMARY KEY,
    hash   BLOB    NOT NULL,  -- bcrypt: never the code itself
    set_by TEXT    NOT NULL,  -- a user; '' for the operator
    set_at INTEGER NOT NULL   -- ms since 1970 UTC, like all times
) STRICT, WITHOUT ROWID;

-- A name that is not here is free. Look-alikes have the same fold.
CREATE TABLE claims (
    fold    TEXT    PRIMARY KEY,
    name    TEXT    NOT NULL,
    salt    BLOB    NOT NULL,
    hash    BLOB    NOT NULL,  -- salted SHA-256 of a random secret
    made_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL   -- exact to an hour
) STRICT, WITHOUT ROWID;
