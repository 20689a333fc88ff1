//go:build !linux

package main

import (
	"os/exec"
	"testing"
)

func dieWithParent(*exec.Cmd) {}

func tmpfs(t testing.TB, _ string) string {
	needed(t, "only Linux lets a test mount a tmpfs")
	return ""
}

func remount(testing.TB, string, string) {}

func fill(testing.TB, string, int64) string { return "" }
