package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"teahouse/chat"
	"teahouse/chat/api"
	"teahouse/db"
)

// localServer is what local.json holds while the server runs.
type localServer struct {
	URL string `json:"url"`
	Key string `json:"key"` // good until the server stops
}

// writeLocal leaves word for the commands on this computer. forget takes it
// away again.
func writeLocal(data string, s localServer) (forget func(), err error) {
	b, err := json.Marshal(s)
	if err != nil {
		return func() {}, err
	}
	tmp, err := os.CreateTemp(data, localName+".*") // readable by this user only
	if err != nil {
		return func() {}, err
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), localPath(data))
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return func() {}, err
	}
	return func() { _ = os.Remove(localPath(data)) }, nil
}

// remoteCommands are those that act on the running server.
func remoteCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name: "token", Usage: "make a client token for a user",
			Flags: remoteFlags(
				&cli.StringFlag{Name: "user", Usage: "`USER` whom the token proves"},
				&cli.DurationFlag{Name: "ttl", Value: 24 * time.Hour, Usage: "how long it is good"},
				&cli.StringFlag{Name: "page", Usage: "print a link with it instead, which opens `PAGE`: vouchers or chat"},
				&cli.StringFlag{Name: "base", Usage: "`URL` by which those who get the link reach the server (default: that of --url)"},
			),
			Action: remote(func(c *cli.Context, server *api.Client) error {
				if c.String("user") == "" {
					return usage("say whose token it is: teahouse token --user USER")
				}
				if _, ok := tokenPages[c.String("page")]; !ok {
					return usage("--page %q: it is vouchers or chat", c.String("page"))
				}
				t, err := server.IssueToken(c.Context, c.String("user"), c.Duration("ttl"))
				if err != nil {
					return err
				}
				return printToken(c, server.URL, t.Token)
			}),
		},
		{
			Name: "push", Usage: "send an event to users or to a topic", ArgsUsage: "TEXT",
			Description: "TEXT becomes the body {\"text\":TEXT}; with --json it is the body itself.",
			Flags: remoteFlags(
				&cli.StringSliceFlag{Name: "user", Usage: "`USER` whose devices get it; may be given several times"},
				&cli.StringFlag{Name: "topic", Usage: "`TOPIC` instead of users, as in room:lobby"},
				&cli.StringFlag{Name: "kind", Value: "message", Usage: "what the body is"},
				&cli.StringFlag{Name: "from", Usage: "`USER` in whose name it is sent"},
				&cli.StringFlag{Name: "key", Usage: "idempotency `KEY`: the same one never sends twice"},
				&cli.BoolFlag{Name: "json", Usage: "TEXT is a JSON value"},
			),
			Action: remote(push),
		},
		{
			Name: "key", Usage: "make, list and revoke API keys",
			Subcommands: []*cli.Command{
				{
					Name: "create", Usage: "make an API key and print it once", ArgsUsage: "NAME",
					Flags: remoteFlags(), OnUsageError: usageError,
					Action: remote(func(c *cli.Context, server *api.Client) error {
						name := strings.Join(c.Args().Slice(), " ")
						if name == "" {
							return usage("say what the key is for: teahouse key create NAME")
						}
						k, err := server.CreateKey(c.Context, name)
						if err != nil {
							return err
						}
						fmt.Fprintln(c.App.Writer, k.Key)
						return nil
					}),
				},
				{
					Name: "list", Usage: "list the API keys", Flags: remoteFlags(), OnUsageError: usageError,
					Action: remote(listKeys),
				},
				{
					Name: "revoke", Usage: "refuse an API key from now on", ArgsUsage: "ID",
					Flags: remoteFlags(), OnUsageError: usageError,
					Action: remote(func(c *cli.Context, server *api.Client) error {
						if c.NArg() != 1 {
							return usage("name one key: teahouse key revoke ID; `teahouse key list` shows the ids")
						}
						return server.RevokeKey(c.Context, c.Args().First())
					}),
				},
			},
		},
		{
			Name: "backup", Usage: "write a copy of the database to FILE", ArgsUsage: "FILE",
			Description: "Works while the server runs, and without it on this computer. Uploaded files are not in it: copy\nthe folder files of the data folder as well, afterwards. To restore, stop the server and\nput the file in the place of teahouse.db in the data folder.",
			Flags:       remoteFlags(),
			Action:      backup,
		},
		voucherCommand(),
		staffCommand(),
		webhookCommand(),
		roomCommand(),
		nameCommand(),
	}
}

// remoteFlags adds the flags that say which server is meant.
func remoteFlags(flags ...cli.Flag) []cli.Flag {
	return append(flags, withEnv(
		&cli.StringFlag{Name: "data", Value: "./data", Usage: "data `FOLDER` of the server, if it runs on this computer"},
		&cli.StringFlag{Name: "url", Usage: "`URL` of the server, if it runs elsewhere"},
		&cli.StringFlag{Name: "api-key", Usage: "API `KEY`, if the server runs elsewhere"},
		&cli.StringFlag{Name: "api-key-file", Usage: "`FILE` that holds the API key"},
	)...)
}

// remote gives a command its connection to the server and its errors their
// exit codes.
func remote(act func(*cli.Context, *api.Client) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		server, err := client(c)
		if err != nil {
			return err
		}
		return remoteError(act(c, server))
	}
}

// tokenPages are the paths of the pages that a token opens.
var tokenPages = map[string]string{"": "", "chat": "/", "vouchers": "/vouchers"}

// printToken prints a token, or a link that comes in with it. The token is
// behind the #, so that no server and no proxy writes it down.
func printToken(c *cli.Context, server, token string) error {
	path := tokenPages[c.String("page")]
	if path == "" {
		fmt.Fprintln(c.App.Writer, token)
		return nil
	}
	base := cmp.Or(c.String("base"), server)
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return usage("--base %q is no address like https://tea.example", base)
	}
	if ip := net.ParseIP(u.Hostname()); c.String("base") == "" && ip != nil && ip.IsLoopback() {
		fmt.Fprintln(c.App.ErrWriter, "this link works on this computer only; name the address that others use with --base")
	}
	fmt.Fprintln(c.App.Writer, strings.TrimRight(base, "/")+path+"#token="+token)
	return nil
}

func remoteError(err error) error {
	var e *chat.Error
	switch {
	case err == nil || !errors.As(err, &e):
		return err
	case e.Code == chat.CodeBusy && e.Err != nil: // nobody answered
		return exitf(exitUnreachable, "%s", e.Message)
	}
	return exitf(exitRefused, "%s (%s)", e.Message, e.Code)
}

// client finds the server: by the flags, or by what it left in its folder.
func client(c *cli.Context) (*api.Client, error) {
	key, err := secret(c, "api-key")
	if err != nil {
		return nil, err
	}
	s := localServer{URL: c.String("url"), Key: key}
	if s.URL == "" || s.Key == "" {
		b, err := os.ReadFile(localPath(c.String("data")))
		var local localServer
		switch {
		case err == nil && json.Unmarshal(b, &local) == nil && (s.URL == "" || s.URL == local.URL):
			s = localServer{URL: local.URL, Key: cmp.Or(s.Key, local.Key)}
		case s.URL == "" && errors.Is(err, fs.ErrNotExist):
			return nil, exitf(exitUnreachable, "no server runs with the data folder %s; start it with `teahouse serve`, name its folder with --data, or give --url and --api-key", c.String("data"))
		case s.URL == "":
			return nil, exitf(exitUnreachable, "%s cannot be read: %v; run the command as the server's user, or give --url and --api-key", localPath(c.String("data")), err)
		default:
			return nil, usage("--url needs an --api-key as well")
		}
	}
	return &api.Client{URL: strings.TrimRight(s.URL, "/"), Key: s.Key}, nil
}

func push(c *cli.Context, server *api.Client) error {
	text := strings.Join(c.Args().Slice(), " ")
	users, topic := c.StringSlice("user"), c.String("topic")
	if (len(users) == 0) == (topic == "") {
		return usage("say to whom: either --user (once or more) or --topic")
	}
	var body json.RawMessage
	if c.Bool("json") {
		if !json.Valid([]byte(text)) {
			return usage("the text is not a JSON value; leave --json out to send it as text")
		}
		body = json.RawMessage(text)
	} else {
		if text == "" {
			return usage("there is nothing to send; write the text after the flags")
		}
		b, err := json.Marshal(map[string]string{"text": text})
		if err != nil {
			return err
		}
		body = b
	}
	out, err := server.Publish(c.Context, api.PublishRequest{
		Topic: topic, To: users, Kind: c.String("kind"), From: c.String("from"), Body: body, Key: c.String("key"),
	})
	if err != nil {
		return err
	}
	for _, e := range out.Events {
		fmt.Fprintf(c.App.Writer, "%s seq %d, to %d connections\n", e.Topic, e.Seq, e.Online)
	}
	return nil
}

func listKeys(c *cli.Context, server *api.Client) error {
	keys, err := server.ListKeys(c.Context)
	if err != nil {
		return err
	}
	w := table(c, "ID\tNAME\tCREATED\tLAST USED\tREVOKED")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, when(k.CreatedAt), when(k.LastUsedAt), when(k.RevokedAt))
	}
	return w.Flush()
}

// table lays what is written to it, its cells separated by tabs, under a line of
// heads. It is printed by Flush.
func table(c *cli.Context, heads string) *tabwriter.Writer {
	w := tabwriter.NewWriter(c.App.Writer, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, heads)
	return w
}

func when(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04")
}

// backup asks the running server for a copy; where none runs with the data
// folder it makes the copy itself.
func backup(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("name one file: teahouse backup FILE")
	}
	file := c.Args().First()
	if _, err := os.Stat(file); err == nil {
		return usage("%s exists already; name a new file", file)
	}
	server, err := client(c)
	var coded *exitError
	if errors.As(err, &coded) && coded.code == exitUnreachable && c.String("url") == "" {
		return backupOffline(c.Context, c.App.Writer, c.String("data"), file)
	}
	if err != nil {
		return err
	}
	// Beside the target, so that the last step is a rename and a backup that
	// was cut off never looks like one.
	tmp, err := os.CreateTemp(filepath.Dir(file), ".teahouse-backup-*")
	if err != nil {
		return exitf(exitNotWritable, "the backup cannot be written: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = server.Backup(c.Context, tmp)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		err = remoteError(err)
		if errors.As(err, &coded) && coded.code == exitUnreachable && c.String("url") == "" {
			// A server that was killed left word of itself behind. The
			// database's lock tells whether it is gone.
			return backupOffline(c.Context, c.App.Writer, c.String("data"), file)
		}
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return exitf(exitNotWritable, "the backup cannot be written: %w", err)
	}
	return backupDone(c.App.Writer, c.String("data"), file)
}

func backupOffline(ctx context.Context, w io.Writer, data, file string) error {
	if _, err := os.Stat(filepath.Join(data, "teahouse.db")); err != nil {
		return exitf(exitUnreachable, "there is no server and no database in %s; name the data folder with --data", data)
	}
	store, err := db.Open(ctx, db.Options{Dir: data})
	if err != nil {
		return openError(err)
	}
	err = store.Backup(ctx, file)
	if err = errors.Join(err, store.Close()); err != nil {
		return remoteError(err)
	}
	return backupDone(w, data, file)
}

// backupDone says how large the copy is, and what is not in it.
func backupDone(w io.Writer, data, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %d bytes\n", file, info.Size())
	files := filepath.Join(data, "files")
	if entries, err := os.ReadDir(files); err != nil || len(entries) > 1 { // more than incoming; elsewhere it is not known
		if err != nil {
			files = "files in the server's data folder"
		}
		fmt.Fprintf(w, "uploaded files are not in it: copy the folder %s as well, now that the database is copied\n", files)
	}
	return nil
}
