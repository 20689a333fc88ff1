//go:build linux

package main

import (
	"context"
	"errors"
)

func openStore(ctx context.Context, dir string) (appender, func() error, error) {
	return nil, nil, errors.New("not yet")
}
