//go:build linux

package main

import (
	"context"

	"teahouse/db"
)

// openStore opens the store as the program does, with full durability.
func openStore(ctx context.Context, dir string) (bareStore, func() error, error) {
	s, err := db.Open(ctx, db.Options{Dir: dir, Durability: "full"})
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}
