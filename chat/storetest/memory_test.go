package storetest_test

import (
	"testing"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

// What the tests of the hub stand on is held to the contract, too.
func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (chat.Store, func() chat.Store) {
		m := storetest.NewMemory(nil)
		return m, func() chat.Store { return m.Reopen() }
	})
}
