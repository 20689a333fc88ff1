package api

import "golang.org/x/crypto/bcrypt"

// Under the race detector each real one would take a second.
func init() { bcryptCost = bcrypt.MinCost }
