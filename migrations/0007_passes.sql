-- Rotating passes. A voucher's secret is derived from the setting
-- voucher_pass_key and its code, so that there is nothing to keep for it.

-- Of a redemption: the time of the pass that was shown (a pass counts once),
-- and when it was scanned if it was sent later. 0: none.
ALTER TABLE voucher_log ADD COLUMN pass_at    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE voucher_log ADD COLUMN scanned_at INTEGER NOT NULL DEFAULT 0;

-- Vouchers that were taken in together and are issued bit by bit, so that
-- nobody waits for it. All rows of an import are here, and durable, before the
-- first of them is issued.
CREATE TABLE voucher_imports (
    id     INTEGER PRIMARY KEY,
    batch  TEXT    NOT NULL UNIQUE,       -- of the vouchers; names the request
    hash   BLOB    NOT NULL,              -- SHA-256 of the rows: the same request has the same
    by     TEXT    NOT NULL,
    at     INTEGER NOT NULL,              -- ms since 1970 UTC
    count  INTEGER NOT NULL,
    issued INTEGER NOT NULL               -- the first so many
) STRICT;

CREATE TABLE voucher_import_rows (
    n         INTEGER PRIMARY KEY,        -- the order of issue
    import_id INTEGER NOT NULL REFERENCES voucher_imports (id),
    rows      TEXT    NOT NULL            -- JSON; those of one transaction
) STRICT;
