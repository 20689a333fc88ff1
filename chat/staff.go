package chat

// Staff is the account of somebody who redeems vouchers: never the PIN itself,
// only what recognises it.
type Staff struct {
	Name      string // who signs in, and what stands in a voucher's log
	Station   string // where they work
	PINHash   []byte
	Stamp     string // another one after each change: a token with an older one is refused
	CreatedAt int64  // ms since 1970 UTC
	ChangedAt int64  // ms since 1970 UTC; 0 if never
}

// Check refuses a name or station that cannot stand in a voucher's log.
func (s Staff) Check() error {
	return firstError(checkText("name", s.Name, 1, maxVoucherWho, false), checkText("station", s.Station, 0, maxVoucherWho, false))
}
