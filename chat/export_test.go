package chat

import (
	"context"

	"golang.org/x/crypto/bcrypt"
)

// Hashing a code is slow by intention; the tests have other things to wait for.
func init() { bcryptCost = bcrypt.MinCost }

// NoteClaims does what is done each hour.
func (h *Hub) NoteClaims(ctx context.Context) error { return h.doors.noteClaims(ctx) }
