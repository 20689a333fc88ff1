// Command teahouse is a realtime server for small sites, mini-programs and
// LANs: chat, push, vouchers and presence over WebSocket, kept in one SQLite
// file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/urfave/cli/v2"
)

// Exit codes. Each kind of failure that an operator can do something about has
// its own, so that a script or a panel can tell them apart.
const (
	exitOK          = 0
	exitFailed      = 1  // anything that has no code of its own
	exitUsage       = 2  // a flag or an argument is wrong
	exitPortBusy    = 3  // another program listens at the address
	exitNotWritable = 4  // the data folder cannot be written
	exitDiskFull    = 5  // the disk is full
	exitLocked      = 6  // another process has the database
	exitDamaged     = 7  // the database is damaged or is not ours
	exitNewerSchema = 8  // a newer version wrote the database
	exitCutOff      = 9  // the stop took too long and was cut off
	exitRefused     = 10 // the running server refused a command
	exitUnreachable = 11 // no running server answered
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: it returns the exit code when the command is done
// or, for serve, some time after ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name:                 "teahouse",
		Usage:                "realtime chat, push and vouchers in one program and one SQLite file",
		Version:              version(),
		Writer:               stdout,
		ErrWriter:            stderr,
		ExitErrHandler:       func(*cli.Context, error) {},
		EnableBashCompletion: true,
		HideVersion:          true,
		Suggest:              true,
		Commands:             append([]*cli.Command{serveCommand(stdout, stderr), versionCommand()}, remoteCommands()...),
		OnUsageError:         usageError,
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return usage("there is no command %q; `teahouse help` lists them", name)
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, c := range app.Commands {
		c.OnUsageError = usageError
	}
	parsing.Lock()
	defer parsing.Unlock()
	actUnlocked(app.Commands)
	err := app.RunContext(ctx, args)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "teahouse: %v\n", err)
	var coded *exitError
	if errors.As(err, &coded) {
		return coded.code
	}
	return exitFailed
}

// parsing is held while the CLI library reads the arguments: its help flag and
// help command are variables of the whole process, and tests run several
// programs in one. Actions run without it.
var parsing sync.Mutex

func actUnlocked(commands []*cli.Command) {
	for _, c := range commands {
		actUnlocked(c.Subcommands)
		if act := c.Action; act != nil {
			c.Action = func(c *cli.Context) error {
				parsing.Unlock()
				defer parsing.Lock()
				return act(c)
			}
		}
	}
}

// exitError is an error with the exit code that it leads to. Its text is one
// sentence that says what to do.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitf(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

func usage(format string, args ...any) error { return exitf(exitUsage, format, args...) }

func usageError(_ *cli.Context, err error, _ bool) error {
	return usage("%w; `--help` lists the flags", err)
}

// version is the module's version, or the commit that it was built from. It
// comes from the build itself, so that the same source gives the same binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(c *cli.Context) error {
			info, _ := debug.ReadBuildInfo()
			goVersion := ""
			if info != nil {
				goVersion = " (" + info.GoVersion + ")"
			}
			_, err := fmt.Fprintf(c.App.Writer, "teahouse %s%s\n", version(), goVersion)
			return err
		},
	}
}
