-- Vouchers, and who redeems them. A change of a voucher writes its row, a line
-- of its log and the event that tells of it in one transaction.

CREATE TABLE vouchers (
    id          INTEGER PRIMARY KEY,      -- the order of issue
    code        TEXT    NOT NULL UNIQUE,  -- as it is printed, without hyphens
    ref         TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('issued', 'redeemed', 'void', 'expired')),
    batch       TEXT    NOT NULL,
    note        TEXT    NOT NULL,
    issued_at   INTEGER NOT NULL,         -- ms since 1970 UTC, like all times
    expires_at  INTEGER NOT NULL,         -- 0: never
    redeemed_at INTEGER NOT NULL,         -- 0 while it is not redeemed
    redeemed_by TEXT    NOT NULL,
    station     TEXT    NOT NULL
) STRICT;
CREATE INDEX vouchers_owner  ON vouchers (owner, id);
CREATE INDEX vouchers_status ON vouchers (status, id);
CREATE INDEX vouchers_batch  ON vouchers (batch, id);
CREATE INDEX vouchers_due    ON vouchers (expires_at) WHERE status = 'issued' AND expires_at > 0;

-- All that was done to a voucher. Also how a request that comes again is
-- known: by its action, by and key.
CREATE TABLE voucher_log (
    voucher_id INTEGER NOT NULL REFERENCES vouchers (id),
    n          INTEGER NOT NULL,          -- from 1
    at         INTEGER NOT NULL,
    action     TEXT    NOT NULL,          -- issued, redeemed, reversed, void, expired
    before     TEXT    NOT NULL,          -- the state before; '' at the issue
    by         TEXT    NOT NULL,
    station    TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    PRIMARY KEY (voucher_id, n)
) STRICT, WITHOUT ROWID;

-- Who may redeem, with a PIN.
CREATE TABLE staff (
    name       TEXT    PRIMARY KEY,
    station    TEXT    NOT NULL,
    pin_hash   BLOB    NOT NULL,
    stamp      TEXT    NOT NULL,          -- another one after each change: tokens carry it
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
