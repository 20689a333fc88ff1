package db

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openIn opens the store in dir and closes it when the test ends.
func openIn(t testing.TB, dir string, change ...func(*Options)) *Store {
	t.Helper()
	o := Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	for _, durability := range []string{Full, Normal} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) (chat.Store, func() chat.Store) {
				dir := t.TempDir()
				set := func(o *Options) { o.Durability = durability }
				s := openIn(t, dir, set)
				return s, func() chat.Store {
					if err := s.Close(); err != nil {
						t.Fatalf("Close: %v", err)
					}
					s = openIn(t, dir, set)
					return s
				}
			})
		})
	}
}
