package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// conn is one connection with its prepared statements kept. It speaks to the
// driver without database/sql between: a statement costs about 2.5 µs, and
// pooling is simpler here than there. It belongs to one goroutine at a time.
type conn struct {
	dc    driver.Conn
	stmts map[string]driver.Stmt
	args  []driver.NamedValue // used again for each statement
	row   []driver.Value
	ctx   context.Context // of a long statement that may be broken off; nil: none may
}

func (c *conn) context() context.Context {
	if c.ctx != nil {
		return c.ctx
	}
	return context.Background()
}

// busyTimeout is how long a statement waits for a lock. We are alone with the
// file, so that only someone's sqlite3 command can hold one for long.
const busyTimeout = 10 * time.Second

// dial opens a connection. Each pragma is one "name(value)"; busy_timeout
// comes first, so that the others wait for a lock, too.
func dial(path string, readOnly bool, pragmas ...string) (*conn, error) {
	q := []string{fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeout.Milliseconds())}
	for _, p := range pragmas {
		q = append(q, "_pragma="+url.QueryEscape(p))
	}
	if readOnly {
		q = append(q, "mode=ro")
	}
	name := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	connector, err := sqlite.NewConnector("file:" + name + "?" + strings.Join(q, "&"))
	if err != nil {
		return nil, err
	}
	dc, err := connector.Connect(context.Background())
	if err != nil {
		return nil, err
	}
	return &conn{dc: dc, stmts: make(map[string]driver.Stmt)}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.dc.Close())...)
}

// stmt returns the prepared statement of the text. The texts are constants or
// come in a few sizes, so that the map stays small.
func (c *conn) stmt(text string) (driver.Stmt, error) {
	if s, ok := c.stmts[text]; ok {
		return s, nil
	}
	s, err := c.dc.Prepare(text)
	if err != nil {
		return nil, err
	}
	c.stmts[text] = s
	return s, nil
}

// bind fills the argument slice, which is used again for each statement.
func (c *conn) bind(args []driver.Value) []driver.NamedValue {
	for len(c.args) < len(args) {
		c.args = append(c.args, driver.NamedValue{Ordinal: len(c.args) + 1})
	}
	for i, a := range args {
		c.args[i].Value = a
	}
	return c.args[:len(args)]
}

// exec runs a statement and returns how many rows it changed. It is not
// interrupted unless ctx is set: a context with a Done channel costs a
// goroutine a call.
func (c *conn) exec(text string, args ...driver.Value) (int64, error) {
	s, err := c.stmt(text)
	if err != nil {
		return 0, err
	}
	r, err := s.(driver.StmtExecContext).ExecContext(c.context(), c.bind(args))
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// query calls each with every row; the slice is used again for the next one,
// the values in it may be kept.
func (c *conn) query(text string, each func(row []driver.Value) error, args ...driver.Value) (err error) {
	s, err := c.stmt(text)
	if err != nil {
		return err
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(context.Background(), c.bind(args))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := c.row
	c.row = nil // each may query this connection itself
	if n := len(rows.Columns()); cap(row) < n {
		row = make([]driver.Value, n)
	} else {
		row = row[:n]
	}
	defer func() { c.row = row }()
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := each(row); err != nil {
			return err
		}
	}
}

// one reads the first column of the first row as an integer, 0 if there is
// no row or the value is NULL.
func (c *conn) one(text string, args ...driver.Value) (n int64, found bool, err error) {
	err = c.query(text, func(row []driver.Value) error {
		if v, ok := row[0].(int64); ok && !found {
			n, found = v, true
		}
		return nil
	}, args...)
	return n, found, err
}

// script runs several statements at once, without keeping them.
func (c *conn) script(text string) error {
	s, err := c.dc.Prepare(text)
	if err != nil {
		return err
	}
	_, err = s.(driver.StmtExecContext).ExecContext(context.Background(), nil)
	return errors.Join(err, s.Close())
}

// atomically runs f in a write transaction of its own.
func (c *conn) atomically(f func() error) error {
	if _, err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		if _, err = c.exec("COMMIT"); err == nil {
			return nil
		}
	}
	// SQLite may have rolled back by itself (a full disk); then this one
	// fails, and rightly.
	c.exec("ROLLBACK")
	return err
}

// text and blob read a column whatever the driver made of an empty one.
func text(v driver.Value) string {
	switch x := v.(type) {
	case string:
		return x
	case []byte:
		return string(x)
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}

func blob(v driver.Value) []byte {
	switch x := v.(type) {
	case []byte:
		return x
	case string:
		return []byte(x)
	}
	return nil
}

func integer(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}
