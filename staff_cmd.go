package main

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"teahouse/chat/api"
)

// staffCommand makes and ends the accounts of those who redeem vouchers.
func staffCommand() *cli.Command {
	pin := &cli.StringFlag{Name: "pin", Usage: "`PIN` or password of at least 6 characters; made and printed once if it is missing"}
	file := &cli.StringFlag{Name: "pin-file", Usage: "`FILE` that holds the PIN"}
	return &cli.Command{
		Name: "staff", Usage: "make, list and remove accounts of staff, and change their PINs",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "make an account", ArgsUsage: "NAME", OnUsageError: usageError,
				Flags: remoteFlags(&cli.StringFlag{Name: "station", Usage: "`WHERE` they work"}, pin, file),
				Action: remote(func(c *cli.Context, server *api.Client) error {
					name, err := staffName(c, "add")
					if err != nil {
						return err
					}
					return withPIN(c, func(pin string) error {
						return server.AddStaff(c.Context, api.NewStaff{Name: name, Station: c.String("station"), PIN: pin})
					})
				}),
			},
			{
				Name: "list", Usage: "list the accounts", Flags: remoteFlags(), OnUsageError: usageError,
				Action: remote(func(c *cli.Context, server *api.Client) error {
					list, err := server.ListStaff(c.Context)
					if err != nil {
						return err
					}
					w := tabwriter.NewWriter(c.App.Writer, 0, 8, 2, ' ', 0)
					fmt.Fprintln(w, "NAME\tSTATION\tCREATED\tCHANGED")
					for _, s := range list {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, dash(s.Station), when(s.CreatedAt), when(s.ChangedAt))
					}
					return w.Flush()
				}),
			},
			{
				Name: "remove", Usage: "remove an account; whoever is signed in with it is refused at once", ArgsUsage: "NAME",
				Flags: remoteFlags(), OnUsageError: usageError,
				Action: remote(func(c *cli.Context, server *api.Client) error {
					name, err := staffName(c, "remove")
					if err != nil {
						return err
					}
					return server.RemoveStaff(c.Context, name)
				}),
			},
			{
				Name: "pin", Usage: "change the PIN of an account, and its station if that is named", ArgsUsage: "NAME", OnUsageError: usageError,
				Flags: remoteFlags(&cli.StringFlag{Name: "station", Usage: "`WHERE` they work from now on"}, pin, file),
				Action: remote(func(c *cli.Context, server *api.Client) error {
					name, err := staffName(c, "pin")
					if err != nil {
						return err
					}
					return withPIN(c, func(pin string) error {
						change := api.StaffChange{PIN: &pin}
						if c.IsSet("station") {
							station := c.String("station")
							change.Station = &station
						}
						return server.ChangeStaff(c.Context, name, change)
					})
				}),
			},
		},
	}
}

func staffName(c *cli.Context, what string) (string, error) {
	name := strings.Join(c.Args().Slice(), " ")
	if name == "" {
		return "", usage("name one account: teahouse staff %s NAME", what)
	}
	return name, noFlags(c, "the name")
}

// withPIN uses the PIN that is given, or makes one and prints it when it counts.
func withPIN(c *cli.Context, use func(pin string) error) error {
	pin, err := secret(c, "pin")
	if err != nil {
		return err
	}
	made := pin == ""
	if made {
		n, err := rand.Int(rand.Reader, big.NewInt(100_000_000))
		if err != nil {
			return err
		}
		pin = fmt.Sprintf("%08d", n)
	}
	if err := use(pin); err != nil {
		return err
	}
	if made {
		fmt.Fprintln(c.App.Writer, pin)
	}
	return nil
}
