package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestDoorsBySDK plays assets/sdktest/real/doors.mjs: what the JavaScript
// client makes of rooms with a code and of claimed names.
func TestDoorsBySDK(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		needed(t, "there is no Node.js here")
	}
	if _, err := os.Stat(filepath.Join("assets", "sdktest", "node_modules", "ws")); err != nil {
		needed(t, "what the tests of the SDK use in Node is not installed: run npm ci in assets/sdktest")
	}
	h := open(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join("assets", "sdktest", "real", "doors.mjs"), sdkFile(t), h.url)
	dieWithParent(cmd)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "fine\n" {
		t.Fatalf("%v: %s", err, out)
	}
}
