package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"teahouse/chat/api"
)

// webhookCommand has other servers told of events, and looks after that.
func webhookCommand() *cli.Command {
	one := func(name, use string, act func(*cli.Context, *api.Client, string) error, flags ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: use, ArgsUsage: "ID", Flags: remoteFlags(flags...), OnUsageError: usageError,
			Action: remote(func(c *cli.Context, server *api.Client) error {
				if c.NArg() != 1 {
					return usage("name one webhook: teahouse webhook %s ID; `teahouse webhook list` shows the ids", name)
				}
				return act(c, server, c.Args().First())
			}),
		}
	}
	enable := func(on bool) func(*cli.Context, *api.Client, string) error {
		return func(c *cli.Context, server *api.Client, id string) error {
			_, err := server.ChangeWebhook(c.Context, id, api.WebhookChange{Enabled: &on})
			return err
		}
	}
	return &cli.Command{
		Name: "webhook", Usage: "tell another server of what happens to vouchers, by HTTP",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "have a URL told of events, and print the secret of its signatures once", ArgsUsage: "URL", OnUsageError: usageError,
				Description: "If the receiver is on this computer (http://127.0.0.1/…) or in your LAN, add --allow-private.",
				Flags: remoteFlags(
					&cli.StringSliceFlag{Name: "event", Value: cli.NewStringSlice("voucher.*"), Usage: "`KIND` of events, whole or as a beginning and *; may be given several times"},
					&cli.StringSliceFlag{Name: "topic", Usage: "`TOPIC` from which events that are no voucher's are told, as in room:lobby or room:*"},
					&cli.BoolFlag{Name: "allow-private", Usage: "it may be at an address of this computer or of a private network"},
					&cli.StringFlag{Name: "note", Usage: "`TEXT`: what it is for"},
					&cli.StringFlag{Name: "secret-file", Usage: "`FILE` that holds the secret to use (whsec_…), instead of a new one"},
				),
				Action: remote(addWebhook),
			},
			{
				Name: "list", Usage: "list the webhooks", Flags: remoteFlags(), OnUsageError: usageError, Action: remote(listWebhooks),
			},
			one("remove", "end a webhook and drop what waits for it", func(c *cli.Context, server *api.Client, id string) error {
				return server.RemoveWebhook(c.Context, id)
			}),
			one("enable", "tell it of events again, and of what waited", enable(true)),
			one("disable", "queue nothing for it; what waits goes on waiting, for three days", enable(false)),
			one("rotate", "replace the secret and print the new one; both sign for 24 hours", func(c *cli.Context, server *api.Client, id string) error {
				w, err := server.RotateWebhook(c.Context, id)
				if err != nil {
					return err
				}
				fmt.Fprintln(c.App.Writer, w.Secret)
				return nil
			}),
			one("ping", "send it a test event and say what it answers", func(c *cli.Context, server *api.Client, id string) error {
				p, err := server.PingWebhook(c.Context, id)
				if err != nil {
					return err
				}
				if !p.OK {
					return exitf(exitRefused, "%s", p.Error)
				}
				fmt.Fprintf(c.App.Writer, "%d in %d ms\n", p.Status, p.TookMS)
				return nil
			}),
			one("deliveries", "list what was told, the newest first", listDeliveries,
				&cli.StringFlag{Name: "state", Usage: "only those that are `STATE`: waiting, delivered or failed"},
				&cli.IntFlag{Name: "limit", Value: 50, Usage: "how many at most"}),
			{
				Name: "resend", Usage: "send an event again", ArgsUsage: "ID SEQ", OnUsageError: usageError,
				Description: "SEQ is the event's, from `teahouse webhook deliveries`. The receiver sees the webhook-id that it had.",
				Flags:       remoteFlags(&cli.BoolFlag{Name: "failed", Usage: "all that was given up, instead of SEQ"}),
				Action:      remote(resend),
			},
		},
	}
}

func addWebhook(c *cli.Context, server *api.Client) error {
	if c.NArg() != 1 {
		return usage("name one URL: teahouse webhook add URL, with the flags before it")
	}
	secret, err := secret(c, "secret")
	if err != nil {
		return err
	}
	w, err := server.AddWebhook(c.Context, api.NewWebhook{URL: c.Args().First(), Events: c.StringSlice("event"), Topics: c.StringSlice("topic"),
		AllowPrivate: c.Bool("allow-private"), Note: c.String("note"), Secret: secret})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s\n%s\n", w.Webhook.ID, w.Secret)
	return nil
}

func listWebhooks(c *cli.Context, server *api.Client) error {
	list, err := server.ListWebhooks(c.Context)
	if err != nil {
		return err
	}
	w := table(c, "ID\tURL\tEVENTS\tSTATUS\tWAITING\tFAILED\tLAST SUCCESS\tNOTE")
	for _, h := range list {
		status := h.Status
		switch status {
		case "disabled":
			status += " " + when(h.DisabledAt) + ": " + h.DisabledWhy
		case "failing":
			status += " since " + when(h.FailingSince)
		}
		events := strings.Join(h.Events, " ")
		if len(h.Topics) > 0 {
			events += " in " + strings.Join(h.Topics, " ")
		}
		if h.AllowPrivate {
			h.URL += " (may be private)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", h.ID, h.URL, events, status, h.Waiting, h.Failed, when(h.DeliveredAt), dash(h.Note))
	}
	return w.Flush()
}

func listDeliveries(c *cli.Context, server *api.Client, id string) error {
	w := table(c, "SEQ\tWHEN\tEVENT\tABOUT\tSTATE\tATTEMPTS\tNEXT\tSTATUS\tERROR")
	left, cursor := c.Int("limit"), ""
	for left > 0 {
		page, err := server.ListDeliveries(c.Context, id, c.String("state"), cursor, min(left, 500))
		if err != nil {
			return err
		}
		for _, d := range page.Deliveries {
			about, status := d.Topic, "-"
			if d.Voucher != "" {
				about = d.Voucher
			}
			if d.Status > 0 {
				status = strconv.Itoa(d.Status)
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", d.Seq, when(d.At), d.Event, about, d.State, d.Attempts, when(d.NextAt), status, dash(d.Error))
		}
		left -= len(page.Deliveries)
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	return w.Flush()
}

func resend(c *cli.Context, server *api.Client) error {
	if c.Bool("failed") {
		if c.NArg() != 1 {
			return usage("name one webhook: teahouse webhook resend --failed ID")
		}
		n, err := server.ResendFailed(c.Context, c.Args().First())
		if err == nil {
			fmt.Fprintf(c.App.Writer, "%d events are sent again\n", n)
		}
		return err
	}
	seq, err := strconv.ParseInt(c.Args().Get(1), 10, 64)
	if err != nil || c.NArg() != 2 {
		return usage("name the webhook and the event: teahouse webhook resend ID SEQ; `teahouse webhook deliveries ID` shows them")
	}
	_, err = server.Resend(c.Context, c.Args().First(), seq)
	return err
}
