package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"teahouse/chat"
	"teahouse/chat/api"
)

// roomCommand puts codes on rooms and takes them away.
func roomCommand() *cli.Command {
	return &cli.Command{
		Name: "room", Usage: "put a code on a room, take it away, and list the rooms that have one",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the rooms with a code", Flags: remoteFlags(), OnUsageError: usageError,
				Action: remote(func(c *cli.Context, server *api.Client) error {
					rooms, err := server.RoomCodes(c.Context)
					if err != nil {
						return err
					}
					w := table(c, "ROOM\tSET BY\tSINCE")
					for _, r := range rooms {
						fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, dash(r.SetBy), when(r.SetAt))
					}
					return w.Flush()
				}),
			},
			{
				Name: "lock", Usage: "give a room a code, or another one; who is in it is put out", ArgsUsage: "ROOM", OnUsageError: usageError,
				Flags: remoteFlags(
					&cli.StringFlag{Name: "code", Usage: "`CODE` of 4 to 64 characters; made and printed if it is missing"},
					&cli.StringFlag{Name: "code-file", Usage: "`FILE` that holds the code"},
				),
				Action: remote(func(c *cli.Context, server *api.Client) error {
					room, err := oneName(c, "room lock")
					if err != nil {
						return err
					}
					return withSecret(c, "code", func(code string) error {
						return server.SetRoomCode(c.Context, strings.TrimPrefix(room, chat.RoomPrefix), code)
					})
				}),
			},
			{
				Name: "unlock", Usage: "take the code of a room away: it is for everybody", ArgsUsage: "ROOM", Flags: remoteFlags(), OnUsageError: usageError,
				Action: remote(func(c *cli.Context, server *api.Client) error {
					room, err := oneName(c, "room unlock")
					if err != nil {
						return err
					}
					return server.DropRoomCode(c.Context, strings.TrimPrefix(room, chat.RoomPrefix))
				}),
			},
		},
	}
}

// nameCommand looks after the names that browsers have claimed in open mode.
func nameCommand() *cli.Command {
	return &cli.Command{
		Name: "name", Usage: "free a name whose browser is gone, and list the names that belong to somebody",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the claimed names, the last used first", Flags: remoteFlags(
					&cli.StringFlag{Name: "like", Usage: "only the claim of this `NAME` or of a look-alike"},
					&cli.IntFlag{Name: "limit", Value: 100, Usage: "how many at most"},
				), OnUsageError: usageError,
				Action: remote(func(c *cli.Context, server *api.Client) error {
					names, err := server.Names(c.Context, c.String("like"), c.Int("limit"))
					if err != nil {
						return err
					}
					w := table(c, "NAME\tSINCE\tLAST USED")
					for _, n := range names {
						fmt.Fprintf(w, "%s\t%s\t%s\n", n.Name, when(n.ClaimedAt), when(n.UsedAt))
					}
					return w.Flush()
				}),
			},
			{
				Name: "free", Usage: "let anybody have a name that somebody has claimed", ArgsUsage: "NAME", Flags: remoteFlags(), OnUsageError: usageError,
				Description: "For who has lost the browser that it belongs to. A browser that still has it may claim it again: whoever comes first.",
				Action: remote(func(c *cli.Context, server *api.Client) error {
					name, err := oneName(c, "name free")
					if err != nil {
						return err
					}
					return server.FreeName(c.Context, name)
				}),
			},
		},
	}
}
