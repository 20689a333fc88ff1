package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"teahouse/chat"
	"teahouse/chat/api"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "issue vouchers from a CSV file, all or none", ArgsUsage: "FILE", OnUsageError: usageError,
		Description: "The first line names the columns, in any order: name, owner, ref, expires_at, note\n" +
			"(or 名称, 持券人, 编号, 过期时间, 备注). UTF-8 or GB18030; - reads standard input.\n" +
			"The same file again issues nothing: it is the same import. --key makes it another one.",
		Flags: remoteFlags(
			&cli.StringFlag{Name: "key", Usage: "`KEY` of this import: with the same one it can be repeated without harm; made from the file's content if it is missing"},
		),
		Action: remote(importVouchers),
	}
}

func exportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "write vouchers to a CSV file, the newest first", ArgsUsage: "[FILE]", OnUsageError: usageError,
		Description: "Without FILE, or with -, to standard output.",
		Flags: remoteFlags(
			&cli.StringFlag{Name: "owner", Usage: "only this `USER`'s"},
			&cli.StringFlag{Name: "status", Usage: "only those in this `STATE`: issued, redeemed, void or expired"},
			&cli.StringFlag{Name: "batch", Usage: "only those of this `BATCH`"},
		),
		Action: remote(exportVouchers),
	}
}

// importMost is more than the server takes.
const importMost = 65 << 20

func importVouchers(c *cli.Context, server *api.Client) error {
	if c.NArg() != 1 {
		return usage("name one file: teahouse voucher import FILE")
	}
	name := c.Args().First()
	in, close := os.Stdin, func() error { return nil }
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usage("the file cannot be read: %v", err)
		}
		in, close = f, f.Close
	}
	file, err := io.ReadAll(io.LimitReader(in, importMost))
	if err = errors.Join(err, close()); err != nil {
		return usage("the file cannot be read: %v", err)
	}
	key := c.String("key")
	if key == "" {
		sum := sha256.Sum256(file)
		key = "file-" + hex.EncodeToString(sum[:16])
	}
	bar := newMeter(c.App.ErrWriter)
	began := time.Now()
	state, err := server.ImportVouchers(c.Context, bar.reading("sending", bytes.NewReader(file), len(file)), key)
	if err != nil {
		bar.done()
		return rowsRefused(c.App.ErrWriter, err)
	}
	before := state.Issued == state.Count || time.UnixMilli(state.At).Before(began.Add(-time.Minute))
	if err := issuedAll(c.Context, server, &state, bar); err != nil {
		return err
	}
	again := ""
	if before {
		again = fmt.Sprintf(" (this file was imported before, on %s; give a --key of your own to issue it once more)", when(state.At))
	}
	fmt.Fprintf(c.App.Writer, "%d vouchers issued, batch %s%s\n", state.Count, state.Batch, again)
	return nil
}

// issuedAll waits until all of an import is issued. That goes on without us.
func issuedAll(ctx context.Context, server *api.Client, s *chat.ImportState, bar *meter) error {
	defer bar.done()
	failures := 0
	for pause := 10 * time.Millisecond; s.Issued < s.Count; pause = min(2*pause, 250*time.Millisecond) {
		bar.show("issuing", s.Issued, s.Count)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		next, err := server.Import(ctx, s.Batch)
		if err != nil {
			if failures++; failures < 50 && chat.CodeOf(err).Verdict().Retry {
				continue // it restarts, perhaps
			}
			return exitf(exitUnreachable, "all %d vouchers were taken in, and the server goes on issuing them; it did not say how far it is: %s", s.Count, chat.AsError(err).Message)
		}
		failures, *s = 0, next
	}
	bar.show("issuing", s.Count, s.Count)
	return nil
}

// rowsRefused names the wrong rows before the sentence.
func rowsRefused(w io.Writer, err error) error {
	var rows api.RowErrors
	if errors.As(err, &rows) {
		for _, r := range rows {
			fmt.Fprintf(w, "%s: %s\n", r.Location, r.Message)
		}
	}
	return err
}

func exportVouchers(c *cli.Context, server *api.Client) error {
	if c.NArg() > 1 {
		return usage("name one file: teahouse voucher export FILE")
	}
	q := chat.VoucherQuery{Owner: c.String("owner"), Status: chat.VoucherStatus(c.String("status")), Batch: c.String("batch")}
	file := c.Args().First()
	if file == "" || file == "-" {
		return server.ExportVouchers(c.Context, q, c.App.Writer)
	}
	if _, err := os.Stat(file); err == nil {
		return usage("%s exists already; name a new file", file)
	}
	// Beside the target, so that what was cut off never looks whole.
	tmp, err := os.CreateTemp(filepath.Dir(file), ".teahouse-export-*")
	if err != nil {
		return exitf(exitNotWritable, "the file cannot be written: %w", err)
	}
	defer os.Remove(tmp.Name())
	err = server.ExportVouchers(c.Context, q, tmp)
	if cerr := tmp.Close(); err == nil && cerr != nil {
		return exitf(exitNotWritable, "the file cannot be written: %w", cerr)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return exitf(exitNotWritable, "the file cannot be written: %w", err)
	}
	return nil
}

// meter is a progress bar on a terminal; nothing elsewhere. A library for two
// hundred numbers and a carriage return would be more code than this.
type meter struct {
	w    io.Writer // nil where there is no terminal
	last string
	at   time.Time
}

const meterWidth = 30

func newMeter(w io.Writer) *meter {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &meter{w: w}
	}
	return &meter{}
}

func (p *meter) show(what string, n, of int) {
	if p.w == nil || of == 0 || n < of && time.Since(p.at) < 100*time.Millisecond {
		return
	}
	p.at = time.Now()
	full := meterWidth * n / of
	line := fmt.Sprintf("\r%s [%s%s] %3d %% ", what, strings.Repeat("#", full), strings.Repeat(".", meterWidth-full), 100*n/of)
	if line != p.last {
		p.last = line
		_, _ = io.WriteString(p.w, line)
	}
}

// done takes the bar away.
func (p *meter) done() {
	if p.w != nil && p.last != "" {
		_, _ = io.WriteString(p.w, "\r"+strings.Repeat(" ", len(p.last))+"\r")
	}
	p.last = ""
}

// reading shows how much of r was read.
func (p *meter) reading(what string, r io.Reader, size int) io.Reader {
	return &countedReader{r: r, p: p, what: what, size: size}
}

type countedReader struct {
	r       io.Reader
	p       *meter
	what    string
	n, size int
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b[:min(len(b), 64<<10)])
	c.n += n
	c.p.show(c.what, c.n, c.size)
	return n, err
}
