package api

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	importBody     = 64 << 20 // 100,000 rows of 600 bytes
	importStall    = time.Minute
	importPatience = 5 * time.Minute // for the file to arrive and to be answered
	metaLarge      = "large"         // the bytes of a body that is not held in memory by the middleware
	exportPage     = 500
	csvType        = "text/csv; charset=utf-8"
)

type importInput struct {
	Key  string `header:"Idempotency-Key" maxLength:"255" doc:"Makes it safe to send this file again: the same key and file are the same import; the same key with another file is a 409 key_reused"`
	file []byte
	err  error
}

// Resolve reads the file, which is not JSON.
func (in *importInput) Resolve(ctx huma.Context) []error {
	in.file, in.err = io.ReadAll(ctx.BodyReader())
	return nil
}

type importOutput struct{ Body chat.ImportState }

type importStateInput struct {
	Batch string `path:"batch" maxLength:"128" doc:"The import's batch"`
}

type exportInput struct {
	Owner  string `query:"owner" doc:"Only this user's"`
	Status string `query:"status" enum:"issued,redeemed,void,expired" doc:"Only those in this state"`
	Batch  string `query:"batch" doc:"Only those of this batch"`
}

type exportOutput struct{ Body func(huma.Context) }

func (a *API) registerVoucherFiles() {
	const path, tag = "/api/v1/vouchers", "Vouchers"
	table := map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}}
	op := huma.Operation{
		OperationID: "importVouchers", Method: http.MethodPost, Path: path + "/import", Tags: []string{tag},
		Summary: "Issue vouchers from a CSV file",
		Description: "The body is the file: UTF-8 or GB18030, up to 100,000 rows. The first line names the columns, in any order, in English or Chinese: " +
			"name, owner, ref, expires_at, note. All are taken in, or none: each wrong row is named in `errors` by its line (the first 100). " +
			"Then they are issued bit by bit, so that nobody has to wait for it; `GET …/imports/{batch}` says how far that is.",
		DefaultStatus: http.StatusAccepted,
		RequestBody:   &huma.RequestBody{Required: true, Content: table},
		Metadata:      map[string]any{metaLarge: int64(importBody)},
	}
	register(a, roleKey, op, a.importVouchers)
	register(a, roleKey, huma.Operation{
		OperationID: "readImport", Method: http.MethodGet, Path: path + "/imports/{batch}", Tags: []string{tag},
		Summary: "How far an import is",
	}, func(ctx context.Context, in *importStateInput) (*importOutput, error) {
		s, err := a.opts.Store.ImportState(ctx, in.Batch)
		if err != nil {
			return nil, err
		}
		return &importOutput{s}, nil
	})
	register(a, roleKey, huma.Operation{
		OperationID: "exportVouchers", Method: http.MethodGet, Path: path + "/export", Tags: []string{tag},
		Summary: "Download vouchers as a CSV file",
		Description: "Newest first; UTF-8 with a byte order mark, as Excel wants it, times by the server's clocks. " +
			"A text that a table would take for a formula has a ' before it.",
		Responses: map[string]*huma.Response{"200": {Description: "The table", Content: table}},
	}, func(_ context.Context, in *exportInput) (*exportOutput, error) {
		q := chat.VoucherQuery{Owner: in.Owner, Status: chat.VoucherStatus(in.Status), Batch: in.Batch, Limit: exportPage}
		if q.Owner != "" {
			if err := a.opts.Hub.Limits().CheckUser(q.Owner); err != nil {
				return nil, err
			}
		}
		return &exportOutput{func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			a.exportVouchers(w, r, q)
		}}, nil
	})
}

func (a *API) importVouchers(ctx context.Context, in *importInput) (*importOutput, error) {
	c := callOf(ctx)
	switch large := (*http.MaxBytesError)(nil); {
	case errors.As(in.err, &large):
		return nil, chat.Errorf(chat.CodeTooLarge, "the file is larger than %d MB; split it", importBody>>20)
	case in.err != nil:
		return nil, &chat.Error{Code: chat.CodeBadRequest, Message: "the file did not arrive whole", Err: in.err}
	}
	if !a.importing.TryLock() {
		return nil, retryIn(2*time.Second, chat.CodeBusy, "another import is being read; try again when it is done")
	}
	defer a.importing.Unlock()
	i := chat.VoucherImport{By: c.caller.id, Batch: newBatch()}
	if in.Key != "" {
		i.Batch = "import." + onceKey(c.caller.id, "/api/v1/vouchers/import", in.Key)[:26]
	}
	// What was taken in before is told again even if it has expired since.
	before, err := a.opts.Store.ImportState(ctx, i.Batch)
	now := a.opts.Now()
	switch {
	case err == nil:
		now = time.UnixMilli(before.At).In(now.Location())
	case chat.CodeOf(err) != chat.CodeNotFound:
		return nil, err
	}
	if err := c.csvRows(in.file, &i, a.opts.Hub.Limits(), now); err != nil {
		return nil, err
	}
	s, err := a.opts.Hub.Import(ctx, i)
	if err != nil {
		return nil, logged(c, err)
	}
	return &importOutput{s}, nil
}

// exportVouchers sends all pages of a list, as far as there were any when it
// began.
func (a *API) exportVouchers(w http.ResponseWriter, r *http.Request, q chat.VoucherQuery) {
	rc := http.NewResponseController(w)
	page, err := a.opts.Store.Vouchers(r.Context(), q)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	now := a.opts.Now()
	w.Header().Set("Content-Type", csvType)
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": csvName(now)}))
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, "\ufeff")
	table := csv.NewWriter(w)
	table.UseCRLF = true
	_ = table.Write(csvExport)
	for {
		_ = rc.SetWriteDeadline(time.Now().Add(importStall))
		for i := range page {
			_ = table.Write(csvRecord(&page[i], now.Location()))
		}
		table.Flush()
		if err = table.Error(); err == nil && len(page) == q.Limit {
			q.Before = page[len(page)-1].ID
			page, err = a.opts.Store.Vouchers(r.Context(), q)
		} else if err == nil {
			return
		}
		if err != nil {
			// Too late for a problem: the cut connection tells the caller.
			a.opts.Logger.Warn("vouchers not sent", "request", callOf(r.Context()).id, "err", err)
			panic(http.ErrAbortHandler)
		}
	}
}
