package chat

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"time"
)

// MaxVoucherImport is how many vouchers one import may issue.
const MaxVoucherImport = 100_000

// ImportChunk is how many vouchers of an import are issued in one transaction:
// some ten milliseconds' worth, which is what others may have to wait for.
const ImportChunk = 200

// VoucherRow asks for one voucher of an import.
type VoucherRow struct {
	Name      string `json:"n"`
	Owner     string `json:"o"`
	Ref       string `json:"r,omitempty"`
	Note      string `json:"t,omitempty"`
	ExpiresAt int64  `json:"e,omitempty"` // ms since 1970 UTC; 0: never
}

// VoucherImport asks for many vouchers, all or none. When it is taken in, all
// of its rows are durable; then they are issued in their order, in chunks.
type VoucherImport struct {
	// Batch names the import, and is the batch of its vouchers. The same
	// import with the same Batch again is the first one.
	Batch string
	By    string
	Rows  []VoucherRow
}

// ImportState says how far an import is.
type ImportState struct {
	Batch  string `json:"batch" doc:"Which import; also the batch of its vouchers"`
	Count  int    `json:"count" doc:"How many vouchers it has"`
	Issued int    `json:"issued" doc:"How many of them are issued. The others follow by themselves, also after a crash"`
	At     int64  `json:"at" doc:"When it was taken in, milliseconds since 1970 UTC"`
}

// Order is the order of one row.
func (i *VoucherImport) Order(r VoucherRow) VoucherOrder {
	return VoucherOrder{Name: r.Name, Owner: r.Owner, Ref: r.Ref, Note: r.Note, ExpiresAt: r.ExpiresAt, Count: 1, By: i.By, Batch: i.Batch}
}

// Check trims the row's texts and refuses what cannot be issued at the time;
// the zero time is before all others.
func (r *VoucherRow) Check(i *VoucherImport, l Limits, at time.Time) error {
	o := i.Order(*r)
	if err := o.Check(l); err != nil {
		return err
	}
	r.Name, r.Ref, r.Note = o.Name, o.Ref, o.Note
	if r.ExpiresAt > 0 && r.ExpiresAt <= at.UnixMilli() {
		return Errorf(CodeBadRequest, "expires_at, %s, lies in the past", clockTime(r.ExpiresAt))
	}
	return nil
}

// Chunks are the rows as a Store keeps them, for one transaction each, and
// their hash.
func (i *VoucherImport) Chunks() (chunks [][]byte, hash [32]byte) {
	h := sha256.New()
	for rows := i.Rows; len(rows) > 0; {
		n := min(len(rows), ImportChunk)
		b, err := json.Marshal(rows[:n])
		if err != nil {
			panic(err) // strings and numbers
		}
		chunks, rows = append(chunks, b), rows[n:]
		h.Write(b)
	}
	h.Sum(hash[:0])
	return chunks, hash
}

// Make returns the vouchers of a chunk. What has expired since the import was
// taken in is issued nevertheless: it was promised, and it will expire at once.
func (i *VoucherImport) Make(chunk []byte, at int64) ([]VoucherChange, error) {
	var rows []VoucherRow
	if err := json.Unmarshal(chunk, &rows); err != nil {
		return nil, err
	}
	out := make([]VoucherChange, len(rows))
	for n, r := range rows {
		o := i.Order(r)
		out[n] = o.Issued(o.make(at))
	}
	return out, nil
}

// ErrImportReused is what another import under the same Batch gets.
func ErrImportReused() *Error {
	return Errorf(CodeKeyReused, "other vouchers were imported under this key; take a new one for a new import")
}

// Import takes vouchers in, all or none, to be issued from now on, and says how
// far they are.
func (h *Hub) Import(ctx context.Context, i VoucherImport) (s ImportState, err error) {
	if len(i.Rows) == 0 || len(i.Rows) > MaxVoucherImport {
		return s, Errorf(CodeBadRequest, "there are %d vouchers; one import takes 1 to %d", len(i.Rows), MaxVoucherImport)
	}
	for n := range i.Rows {
		if err := i.Rows[n].Check(&i, h.opts.Limits, time.Time{}); err != nil {
			e := *AsError(err)
			e.Message = "voucher " + strconv.Itoa(n+1) + ": " + e.Message
			return s, &e
		}
	}
	err = h.command(func() error {
		s, err = h.store.Import(ctx, i)
		return err
	})
	if err == nil && s.Issued < s.Count {
		select {
		case h.imports <- struct{}{}:
		default:
		}
	}
	return s, err
}

const importPause = 5 * time.Millisecond

// issueImports issues what was taken in, chunk by chunk. After each it leaves
// as much time to others as it took.
func (h *Hub) issueImports(ctx context.Context) {
	timer := time.NewTimer(0) // what a stop or a crash left
	defer timer.Stop()
	failing := false
	pause := importPause
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-h.imports:
		}
		began := time.Now()
		n, err := h.store.IssueImported(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				h.log.Error("vouchers of an import could not be issued; trying again", "err", err)
			}
			pause = min(2*pause, expireLook)
			timer.Reset(max(pause, AsError(err).Retry))
		case n > 0:
			pause = importPause
			h.vouchersDue()
			timer.Reset(min(time.Since(began), time.Second))
		}
		failing = err != nil
	}
}
