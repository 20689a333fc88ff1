package storetest

import (
	"context"
	"slices"

	"teahouse/chat"
)

// kept is a voucher with its log.
type kept struct {
	chat.Voucher
	log []chat.VoucherEntry
}

// begin takes the lock for a change, and returns the one time of it.
func (m *Memory) begin(ctx context.Context) (at int64, end func(), err error) {
	m.mu.Lock()
	err = gaveUp(ctx)
	if err == nil {
		err = m.fail
	}
	if err != nil {
		m.mu.Unlock()
		return 0, nil, err
	}
	at = m.clock().UnixMilli()
	if n := len(m.events); n > 0 {
		at = max(at, m.events[n-1].At)
	}
	return at, func() {
		close(m.grown)
		m.grown = make(chan struct{})
		m.mu.Unlock()
	}, nil
}

// record keeps a change of a voucher and its event.
func (m *Memory) record(v *kept, c chat.VoucherChange, at int64) {
	id := v.ID
	v.Voucher = c.Voucher
	v.ID = id
	v.log = append(v.log, c.Entry)
	e := c.Event()
	e.Seq, e.At = int64(len(m.events))+1, at
	m.events = append(m.events, e)
}

func (m *Memory) find(code string) (*kept, error) {
	for i := range m.vouchers {
		if m.vouchers[i].Code == code {
			return &m.vouchers[i], nil
		}
	}
	return nil, chat.Errorf(chat.CodeVoucherUnknown, "there is no voucher with this code")
}

// Issue implements chat.Store.
func (m *Memory) Issue(ctx context.Context, o chat.VoucherOrder) ([]chat.Voucher, error) {
	at, end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var first []chat.Voucher
	for _, v := range m.vouchers {
		if v.Batch == o.Batch {
			first = append(first, v.Voucher)
		}
	}
	if len(first) > 0 {
		return o.Again(first)
	}
	out, err := o.Make(at)
	for i := range out {
		out[i].ID = int64(len(m.vouchers)) + 1
		m.vouchers = append(m.vouchers, kept{Voucher: out[i]})
		m.record(&m.vouchers[len(m.vouchers)-1], o.Issued(out[i]), at)
	}
	return out, err
}

// Change implements chat.Store.
func (m *Memory) Change(ctx context.Context, code string, a chat.VoucherAct) (chat.VoucherChange, error) {
	at, end, err := m.begin(ctx)
	if err != nil {
		return chat.VoucherChange{}, err
	}
	defer end()
	v, err := m.find(code)
	if err != nil {
		return chat.VoucherChange{}, err
	}
	c, err := v.Apply(v.log, a, at)
	if err == nil && c.First {
		m.record(v, c, at)
	}
	return c, err
}

// Expire implements chat.Store.
func (m *Memory) Expire(ctx context.Context, limit int) (expired int, next int64, err error) {
	at, end, err := m.begin(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer end()
	var waiting []*kept
	for i := range m.vouchers {
		if v := &m.vouchers[i]; v.Status == chat.VoucherIssued && v.ExpiresAt > 0 {
			waiting = append(waiting, v)
		}
	}
	slices.SortStableFunc(waiting, func(a, b *kept) int { return int(a.ExpiresAt - b.ExpiresAt) })
	for _, v := range waiting {
		if !v.Due(at) || expired == limit {
			return expired, v.ExpiresAt, nil
		}
		m.record(v, v.Voucher.Expire(at), at)
		expired++
	}
	return expired, 0, nil
}

// Voucher implements chat.Store.
func (m *Memory) Voucher(ctx context.Context, code string) (chat.Voucher, []chat.VoucherEntry, error) {
	if err := gaveUp(ctx); err != nil {
		return chat.Voucher{}, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.find(code)
	if err != nil {
		return chat.Voucher{}, nil, err
	}
	return v.Voucher, slices.Clone(v.log), nil
}

// Vouchers implements chat.Store.
func (m *Memory) Vouchers(ctx context.Context, q chat.VoucherQuery) ([]chat.Voucher, error) {
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.Limit <= 0 {
		q.Limit = 50
	}
	var out []chat.Voucher
	for _, v := range slices.Backward(m.vouchers) {
		if (q.Owner == "" || v.Owner == q.Owner) && (q.Status == "" || v.Status == q.Status) && (q.Batch == "" || v.Batch == q.Batch) &&
			(q.Before <= 0 || v.ID < q.Before) && len(out) < q.Limit {
			out = append(out, v.Voucher)
		}
	}
	return out, nil
}
