// Package migrations holds the numbered steps that make the database what the
// program expects: NNNN_what.sql, run in the order of their numbers, each in
// a transaction of its own. A released step is never edited; a change is a
// new one.
package migrations

import "embed"

// FS holds every step.
//
//go:embed *.sql
var FS embed.FS
