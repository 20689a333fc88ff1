package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDoorCommands: the owner of a site locks and opens rooms and frees a name,
// without curl.
func TestDoorCommands(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := open(t, data)
	with := commands{t, func(args ...string) (int, string, string) {
		t.Helper()
		return command(t, append([]string{args[0], args[1], "--data=" + data}, args[2:]...)...)
	}}
	ok, fails := with.ok, with.fails

	// A room: a code that is made, one that is given, one that is in a file.
	alice, _ := enter(t, h.ws(), "alice")
	alice.join("room:tea room")
	made := ok("room", "lock", "tea", "room")
	if !regexp.MustCompile(`^\d{8}$`).MatchString(made) {
		t.Errorf("the code that was made: %q", made)
	}
	alice.refused("code_needed", "join", "topic", "room:tea room")
	alice.ask("join", "topic", "room:tea room", "code", made)
	if out := ok("room", "lock", "--code=oolong tea", "room:den"); out != "" {
		t.Errorf("a code that was given is told: %q", out)
	}
	write(t, data, "code.txt", "green tea\n")
	ok("room", "lock", "--code-file="+filepath.Join(data, "code.txt"), "lobby")
	if out := ok("room", "list"); !regexp.MustCompile(`(?s)^ROOM +SET BY +SINCE\nden +- +20\S+.*\nlobby +- .*\ntea room +- `).MatchString(out) {
		t.Errorf("room list:\n%s", out)
	}
	ok("room", "unlock", "tea room")
	if out := ok("room", "list"); strings.Contains(out, "tea room") {
		t.Errorf("it is still locked:\n%s", out)
	}
	bob, _ := enter(t, h.ws(), "bob")
	bob.join("room:tea room")
	fails(exitRefused, "has no code", "room", "unlock", "tea room")
	fails(exitRefused, "4 to 64", "room", "lock", "--code=abc", "den")
	fails(exitUsage, "teahouse room lock ROOM", "room", "lock")
	fails(exitUsage, "before the name", "room", "lock", "den", "--code=abcd")

	// A name that its browser has claimed, and lost.
	enter(t, h.ws(), "Ming", "secret", "0123456789-random")
	if out := ok("name", "list"); !regexp.MustCompile(`(?s)^NAME +SINCE +LAST USED\nMing +20\S+`).MatchString(out) {
		t.Errorf("name list:\n%s", out)
	}
	if out := ok("name", "list", "--like=ｍｉｎｇ"); !strings.Contains(out, "Ming") {
		t.Errorf("its look-alike does not find it:\n%s", out)
	}
	if out := ok("name", "list", "--like=bob"); strings.Contains(out, "Ming") {
		t.Errorf("another name finds it:\n%s", out)
	}
	ok("name", "free", "ming")
	if out := ok("name", "list"); strings.Contains(out, "Ming") {
		t.Errorf("it is not free:\n%s", out)
	}
	fails(exitRefused, "nobody has claimed", "name", "free", "ming")
	fails(exitUsage, "teahouse name free NAME", "name", "free")
}
