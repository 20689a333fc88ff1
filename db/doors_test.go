package db

import (
	"testing"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

func TestDoors(t *testing.T) {
	t.Parallel()
	storetest.RunDoors(t, func(t *testing.T) (chat.Doors, func() chat.Doors) {
		dir := t.TempDir()
		s, err := Open(t.Context(), options(dir))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { shut(t, s) })
		return s, func() chat.Doors {
			shut(t, s)
			if s, err = Open(t.Context(), options(dir)); err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}
