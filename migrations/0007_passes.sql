-- Rotating passes. A voucher's secret is derived from the setting
-- voucher_pass_key and its code, so that there is nothing to keep for it.

-- Of a redemption: the time of the pass that was shown (a pass counts once),
-- and when it was scanned if it was sent later. 0: none.
ALTER TABLE voucher_log ADD COLUMN pass_at    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE voucher_log ADD COLUMN scanned_at INTEGER NOT NULL DEFAULT 0;
