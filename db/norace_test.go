//go:build !race

package db

const slow = false
