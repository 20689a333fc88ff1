package db

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// seal is a small file beside the database by which an old copy of the
// database is noticed. Each open of the file gets a new boot id, which is
// written to the seal (as Next), then to the database, then to the seal
// again (as Boot): whichever of these steps is the last before a power cut,
// the database's id is one of the seal's two. A copy that was put back has
// an older id; or the same one, if it was made while the program ran, but
// then it ends below the head that the seal saw.
type seal struct {
	Boot string `json:"boot"`           // the open that the database knew of
	Head int64  `json:"head"`           // a Seq that was durable during Boot
	Next string `json:"next,omitempty"` // the open that was just beginning
}

// accepts reports that a database with this boot id and head goes on from
// where this seal was made.
func (l seal) accepts(boot string, head int64) bool {
	return boot != "" && (boot == l.Boot && head >= l.Head || boot == l.Next)
}

const sealName = "teahouse.seal"

// readSeal returns an empty seal if there is none that can be read.
func readSeal(dir string) (l seal, err error) {
	b, err := os.ReadFile(filepath.Join(dir, sealName))
	if errors.Is(err, os.ErrNotExist) {
		return seal{}, nil
	}
	if err == nil && json.Unmarshal(b, &l) != nil {
		return seal{}, nil
	}
	return l, err
}

// writeSeal replaces the seal in one step that a power cut cannot halve.
func writeSeal(dir string, l seal) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, sealName)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

// sealEvery is how often a running store tells the seal how far it is.
const sealEvery = 30 * time.Second

// sealNow writes the head to the seal if it is above last. What the seal says
// must be durable first.
func (s *Store) sealNow(ctx context.Context, last int64) (head int64, err error) {
	err = s.chore(ctx, func(w *writer) error {
		head = w.tail.head
		if !s.full && head > last {
			if _, left, err := walCheckpoint(w.c, "PASSIVE"); err != nil || left > 0 {
				head = last
				return err
			}
		}
		return nil
	})
	if err != nil || head <= last {
		return last, err
	}
	return head, writeSeal(s.opts.Dir, seal{Boot: s.boot, Head: head})
}

// syncDir makes a rename or a new file in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrInvalid) || errors.Is(err, os.ErrPermission) {
		err = nil // some systems cannot; there the name is durable by itself
	}
	return errors.Join(err, d.Close())
}

// newID returns a name that no other log or open has.
func newID() string { return rand.Text()[:16] }
