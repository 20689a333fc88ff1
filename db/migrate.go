package db

import (
	"cmp"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

type step struct {
	number int
	name   string
	sql    string
}

// readSteps returns the migrations in order; their numbers must run from 1
// without a gap.
func readSteps(from fs.FS) ([]step, error) {
	names, err := fs.Glob(from, "*.sql")
	if err != nil {
		return nil, err
	}
	var steps []step
	for _, name := range names {
		digits, _, _ := strings.Cut(name, "_")
		n, err := strconv.Atoi(digits)
		if err != nil {
			return nil, fmt.Errorf("the migration %s does not begin with its number", name)
		}
		b, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step{n, name, string(b)})
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.number, b.number) })
	for i, st := range steps {
		if st.number != i+1 {
			return nil, fmt.Errorf("the migration %s should have the number %d", st.name, i+1)
		}
	}
	return steps, nil
}

// migrate brings the file to the newest schema, each step in a transaction.
// Before a file that has a past is changed, a copy of it is made beside it.
func migrate(c *conn, path string, from fs.FS, clock func() time.Time, log *slog.Logger) error {
	steps, err := readSteps(from)
	if err != nil {
		return err
	}
	version, _, err := c.one("PRAGMA user_version")
	if err != nil {
		return err
	}
	have := int(version)
	switch {
	case have > len(steps):
		return &OpenError{Reason: NewerSchema, Path: path, Have: have, Want: len(steps)}
	case have == len(steps):
		return nil
	case have > 0:
		copied := fmt.Sprintf("%s.v%d-%s.bak", path, have, clock().UTC().Format("20060102T150405.000"))
		if err := vacuumInto(c, copied); err != nil {
			return fmt.Errorf("the copy before the upgrade could not be made: %w", err)
		}
		log.Info("the database is upgraded; a copy was made first", "from", have, "to", len(steps), "copy", filepath.Base(copied))
	}
	for _, st := range steps[have:] {
		err := c.atomically(func() error {
			if err := c.script(st.sql); err != nil {
				return err
			}
			return c.script(fmt.Sprintf("PRAGMA user_version = %d", st.number))
		})
		if err != nil {
			return fmt.Errorf("the migration %s failed, so the database is as it was: %w", st.name, err)
		}
	}
	return nil
}
