//go:build race

package db

// slow says that SQLite is about ten times slower: tests do fewer rounds.
const slow = true
