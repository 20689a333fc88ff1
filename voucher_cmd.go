package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"teahouse/chat"
	"teahouse/chat/api"
)

// voucherCommand issues and changes vouchers on the running server.
func voucherCommand() *cli.Command {
	by := &cli.StringFlag{Name: "by", Value: "operator", Usage: "`WHO` does it; it stands in the log"}
	key := &cli.StringFlag{Name: "key", Usage: "`KEY` of this request: with the same one it can be repeated without harm; a new one is made if it is missing"}
	reason := &cli.StringFlag{Name: "reason", Usage: "`WHY`; it stands in the log"}
	return &cli.Command{
		Name: "voucher", Usage: "issue, show, redeem, reverse, void, list, import and export vouchers",
		Subcommands: []*cli.Command{
			{
				Name: "issue", Usage: "issue vouchers and print their codes", ArgsUsage: "NAME", OnUsageError: usageError,
				Description: "NAME says what it is for. The owner is told at once.",
				Flags: remoteFlags(
					&cli.StringFlag{Name: "owner", Usage: "`USER` whose it is"},
					&cli.IntFlag{Name: "count", Value: 1, Usage: "how many, up to 1000"},
					&cli.StringFlag{Name: "ref", Usage: "your own `ID` of it"},
					&cli.StringFlag{Name: "expires", Usage: "`WHEN` it expires: after 30d or 12h, at the end of 2027-01-31, or at 2027-01-31T18:00:00+08:00"},
					&cli.StringFlag{Name: "note", Usage: "`TEXT` to go with it"},
					&cli.StringFlag{Name: "key", Usage: "idempotency `KEY`: the same command with the same one prints the same codes again (give --expires as a date then)"},
				),
				Action: remote(issueVouchers),
			},
			{
				Name: "show", Usage: "show a voucher and its log", ArgsUsage: "CODE", Flags: remoteFlags(), OnUsageError: usageError,
				Action: remote(showVoucher),
			},
			{
				Name: "redeem", Usage: "redeem a voucher", ArgsUsage: "CODE", OnUsageError: usageError,
				Flags: remoteFlags(by, &cli.StringFlag{Name: "station", Usage: "`WHERE` it is redeemed"}, key),
				Action: remote(func(c *cli.Context, server *api.Client) error {
					return changeVoucher(c, "redeem", func(code, key string) (api.ChangedVoucher, error) {
						return server.Redeem(c.Context, code, api.RedeemRequest{By: c.String("by"), Station: c.String("station"), Key: key})
					})
				}),
			},
			{
				Name: "reverse", Usage: "undo a redemption", ArgsUsage: "CODE", OnUsageError: usageError,
				Flags: remoteFlags(by, reason, key),
				Action: remote(func(c *cli.Context, server *api.Client) error {
					return changeVoucher(c, "reverse", func(code, key string) (api.ChangedVoucher, error) {
						return server.Reverse(c.Context, code, api.UndoRequest{By: c.String("by"), Reason: c.String("reason"), Key: key})
					})
				}),
			},
			{
				Name: "void", Usage: "withdraw a voucher", ArgsUsage: "CODE", OnUsageError: usageError,
				Flags: remoteFlags(by, reason, key),
				Action: remote(func(c *cli.Context, server *api.Client) error {
					return changeVoucher(c, "void", func(code, key string) (api.ChangedVoucher, error) {
						return server.Void(c.Context, code, api.UndoRequest{By: c.String("by"), Reason: c.String("reason"), Key: key})
					})
				}),
			},
			{
				Name: "list", Usage: "list vouchers, the newest first", OnUsageError: usageError,
				Flags: remoteFlags(
					&cli.StringFlag{Name: "owner", Usage: "only this `USER`'s"},
					&cli.StringFlag{Name: "status", Usage: "only those in this `STATE`: issued, redeemed, void or expired"},
					&cli.StringFlag{Name: "batch", Usage: "only those of this `BATCH`"},
					&cli.IntFlag{Name: "limit", Value: 100, Usage: "how many at most; 0 is all"},
				),
				Action: remote(listVouchers),
			},
			importCommand(), exportCommand(),
		},
	}
}

func issueVouchers(c *cli.Context, server *api.Client) error {
	name := strings.Join(c.Args().Slice(), " ")
	if name == "" || c.String("owner") == "" {
		return usage("say what it is for and whose it is: teahouse voucher issue --owner USER NAME")
	}
	if err := noFlags(c, "the name"); err != nil {
		return err
	}
	if n := c.Int("count"); n < 1 || n > chat.MaxVoucherCount {
		return usage("--count is %d; it can be 1 to %d", n, chat.MaxVoucherCount)
	}
	expires, err := parseExpiry(c.String("expires"), time.Now())
	if err != nil {
		return err
	}
	list, err := server.IssueVouchers(c.Context, api.IssueRequest{
		Name: name, Owner: c.String("owner"), Count: c.Int("count"), Ref: api.Ref(c.String("ref")), Note: c.String("note"), ExpiresAt: expires,
	}, c.String("key"))
	if err != nil {
		return err
	}
	for _, v := range list {
		fmt.Fprintln(c.App.Writer, chat.ShowVoucherCode(v.Code))
	}
	return nil
}

// parseExpiry reads a time from now on, a day, which is good until it ends, or
// a moment. "" is never.
func parseExpiry(s string, now time.Time) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, int(n)).UnixMilli(), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(d).UnixMilli(), nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return day.AddDate(0, 0, 1).UnixMilli(), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at.UnixMilli(), nil
	}
	return 0, usage("--expires %q is no time; write 30d, 12h, 2027-01-31 (until the day ends) or 2027-01-31T18:00:00+08:00", s)
}

// oneName is the one argument of a command, which may have spaces.
func oneName(c *cli.Context, command string) (string, error) {
	name := strings.Join(c.Args().Slice(), " ")
	if name == "" {
		return "", usage("name one: teahouse %s %s", command, c.Command.ArgsUsage)
	}
	return name, noFlags(c, "the name")
}

// noFlags notices flags that were written where they are text.
func noFlags(c *cli.Context, what string) error {
	for _, a := range c.Args().Slice() {
		if strings.HasPrefix(a, "--") {
			return usage("write %s before %s", a, what)
		}
	}
	return nil
}

// voucherCode is the one argument; people may type it with spaces.
func voucherCode(c *cli.Context, what string) (string, error) {
	code := strings.Join(c.Args().Slice(), "")
	if code == "" {
		return "", usage("name one voucher: teahouse voucher %s CODE", what)
	}
	return code, noFlags(c, "the code")
}

func changeVoucher(c *cli.Context, what string, ask func(code, key string) (api.ChangedVoucher, error)) error {
	code, err := voucherCode(c, what)
	if err != nil {
		return err
	}
	if what != "redeem" && strings.TrimSpace(c.String("reason")) == "" {
		return usage("say why, for the log: teahouse voucher %s --reason WHY CODE", what)
	}
	key := c.String("key")
	if key == "" {
		key = "cli-" + rand.Text()
	}
	out, err := ask(code, key)
	if err != nil {
		return err
	}
	again := ""
	if !out.First {
		again = " (done before, by this same request)"
	}
	fmt.Fprintf(c.App.Writer, "%s: %s, of %s%s\n", out.Voucher.Status, out.Voucher.Name, out.Voucher.Owner, again)
	return nil
}

func showVoucher(c *cli.Context, server *api.Client) error {
	code, err := voucherCode(c, "show")
	if err != nil {
		return err
	}
	out, err := server.Voucher(c.Context, code)
	if err != nil {
		return err
	}
	v := out.Voucher
	w := tabwriter.NewWriter(c.App.Writer, 0, 8, 2, ' ', 0)
	for _, line := range [][2]string{
		{"code", chat.ShowVoucherCode(v.Code)}, {"state", string(v.Status)}, {"name", v.Name}, {"owner", v.Owner}, {"ref", v.Ref}, {"note", v.Note},
		{"batch", v.Batch}, {"issued", when(v.IssuedAt)}, {"expires", when(v.ExpiresAt)},
	} {
		if line[1] != "" && line[1] != "-" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], oneLine(line[1]))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer)
	fmt.Fprintln(w, "WHEN\tWHAT\tWHO\tWHERE\tBEFORE\tWHY")
	for _, e := range out.Log {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", time.UnixMilli(e.At).Format(time.DateTime), e.Action, dash(e.By), dash(e.Station), dash(string(e.From)), dash(oneLine(e.Reason)))
	}
	return w.Flush()
}

func listVouchers(c *cli.Context, server *api.Client) error {
	if c.Int("limit") < 0 {
		return usage("--limit must be 0 or more")
	}
	q := chat.VoucherQuery{Owner: c.String("owner"), Status: chat.VoucherStatus(c.String("status")), Batch: c.String("batch")}
	w := table(c, "CODE\tSTATE\tOWNER\tNAME\tISSUED\tEXPIRES\tREDEEMED\tBY\tAT")
	for cursor, left := "", c.Int("limit"); ; {
		if q.Limit = 500; left > 0 {
			q.Limit = min(q.Limit, left)
		}
		page, err := server.ListVouchers(c.Context, q, cursor)
		if err != nil {
			return err
		}
		writeVouchers(w, page.Vouchers)
		if left -= len(page.Vouchers); left == 0 || page.Cursor == "" {
			return w.Flush()
		}
		cursor = page.Cursor
	}
}

func writeVouchers(w io.Writer, list []chat.Voucher) {
	for _, v := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", chat.ShowVoucherCode(v.Code), v.Status, v.Owner, v.Name,
			when(v.IssuedAt), when(v.ExpiresAt), when(v.RedeemedAt), dash(v.RedeemedBy), dash(v.Station))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// oneLine keeps a text with line breaks in its row of a table.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
