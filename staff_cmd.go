package main

import (
	"crypto/rand"
	"fmt"
	"math/big"

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
					name, err := oneName(c, "staff add")
					if err != nil {
						return err
					}
					return withSecret(c, "pin", func(pin string) error {
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
					w := table(c, "NAME\tSTATION\tCREATED\tCHANGED")
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
					name, err := oneName(c, "staff remove")
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
					name, err := oneName(c, "staff pin")
					if err != nil {
						return err
					}
					return withSecret(c, "pin", func(pin string) error {
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

// withSecret uses what a flag or its -file twin says, or makes eight digits and
// prints them when they count.
func withSecret(c *cli.Context, flag string, use func(string) error) error {
	value, err := secret(c, flag)
	if err != nil {
		return err
	}
	made := value == ""
	if made {
		n, err := rand.Int(rand.Reader, big.NewInt(100_000_000))
		if err != nil {
			return err
		}
		value = fmt.Sprintf("%08d", n)
	}
	if err := use(value); err != nil {
		return err
	}
	if made {
		fmt.Fprintln(c.App.Writer, value)
	}
	return nil
}
