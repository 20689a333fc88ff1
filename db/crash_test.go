package db

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"teahouse/chat"
)

// child is what the test binary does when a test started it again.
func child(what string) {
	dir := os.Getenv("TEAHOUSE_DB_DIR")
	switch what {
	case "files":
		filesChild(dir)
	case "open": // and die at a point on the way
		killAt(os.Getenv("TEAHOUSE_DB_POINT"))
		s, err := Open(context.Background(), options(dir))
		if err != nil {
			fmt.Println("error", err)
			return
		}
		s.Append(context.Background(), message("room:a", "u", "", 1))
		s.Close()
	case "load":
		load(dir, os.Getenv("TEAHOUSE_DB_DURABILITY"), os.Getenv("TEAHOUSE_DB_ROUND"))
	}
}

// killAt lets the process die at a point.
func killAt(point string) {
	killPoint = func(at string) {
		if at == point {
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				self.Kill()
			}
			select {}
		}
	}
}

const loadWriters = 20

// load appends for ever and tells of each acknowledged event on standard
// output. Standard input says which key each writer begins with.
func load(dir, durability, round string) {
	from := make([]int, loadWriters)
	for i := range from {
		fmt.Fscan(os.Stdin, &from[i])
	}
	s, err := Open(context.Background(), options(dir, func(o *Options) { o.Durability, o.window, o.recent = durability, 2000, 500 }))
	if err != nil {
		fmt.Println("error", err)
		return
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range loadWriters {
		wg.Go(func() {
			for n := from[w]; ; n++ {
				batch := []chat.Event{message(fmt.Sprintf("room:%d", (w+n)%7), fmt.Sprint(w), fmt.Sprint(n), n)}
				if n%5 == 0 {
					batch = append(batch, message("room:all", fmt.Sprint(w), fmt.Sprint(n), n))
				}
				out, err := s.Append(context.Background(), batch...)
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
				}
				for _, e := range out {
					fmt.Println("ack", e.Seq, e.Topic, e.From, e.Key, e.At)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func childCommand(t *testing.T, what, dir string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, "TEAHOUSE_DB_CHILD="+what, "TEAHOUSE_DB_DIR="+dir)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// The process is killed again and again under load. Whatever it acknowledged
// is there afterwards, once, with the Seq that was told; the keys that were
// not acknowledged are tried again, and no key is there twice.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	rounds, most := 6, 6000
	if testing.Short() || slow {
		rounds, most = 2, 2000
	}
	for _, durability := range []string{Full, Normal} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			acked := make(map[string]int64) // topic, from and key -> Seq
			next := make([]int, loadWriters)
			for i := range next {
				next[i] = 1
			}
			random := rand.New(rand.NewPCG(3, 4))
			epoch := ""
			for round := range rounds {
				killLoad(t, dir, durability, fmt.Sprint(round), 200+random.IntN(most), acked, next)
				s, err := Open(t.Context(), options(dir, func(o *Options) { o.Durability, o.window, o.recent = durability, 2000, 500 }))
				if err != nil {
					t.Fatalf("Open after kill %d: %v", round, err)
				}
				if e := position(t, s).Epoch; epoch != "" && e != epoch {
					t.Errorf("kill %d renewed the epoch", round)
				} else {
					epoch = e
				}
				verifyLoad(t, s, acked)
				if round%2 == 0 {
					shut(t, s) // else the next process meets what a crash left
				} else {
					dir = crash(t, s)
					shut(t, s)
				}
			}
		})
	}
}

func killLoad(t *testing.T, dir, durability, round string, after int, acked map[string]int64, next []int) {
	t.Helper()
	cmd := childCommand(t, "load", dir, "TEAHOUSE_DB_DURABILITY="+durability, "TEAHOUSE_DB_ROUND="+round)
	var in strings.Builder
	for _, n := range next {
		fmt.Fprintln(&in, n)
	}
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) != 6 || f[0] != "ack" {
			if n <= after {
				t.Errorf("the child says: %s", lines.Text())
			}
			continue // the last line may be cut
		}
		var seq int64
		var from, key int
		fmt.Sscan(f[1], &seq)
		fmt.Sscan(f[3], &from)
		fmt.Sscan(f[4], &key)
		acked[f[2]+" "+f[3]+" "+f[4]] = seq
		next[from] = max(next[from], key+1)
		if n == after {
			cmd.Process.Kill()
		}
	}
	io.Copy(io.Discard, out)
	cmd.Wait()
	// The last key of each writer may be written without its acknowledgement
	// having come through: it is sent again.
}

func verifyLoad(t *testing.T, s *Store, acked map[string]int64) {
	t.Helper()
	there := make(map[string]int64)
	topics := []string{"room:all"}
	for i := range 7 {
		topics = append(topics, fmt.Sprintf("room:%d", i))
	}
	all, err := s.Replay(t.Context(), topics, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for _, e := range all {
		if e.Seq <= last {
			t.Fatalf("Seq %d after %d", e.Seq, last)
		}
		last = e.Seq
		id := e.Topic + " " + e.From + " " + e.Key
		if seq, twice := there[id]; twice {
			t.Fatalf("%s is there twice, as %d and %d", id, seq, e.Seq)
		}
		there[id] = e.Seq
	}
	for id, seq := range acked {
		if there[id] != seq {
			t.Fatalf("%s was acknowledged as %d and is there as %d", id, seq, there[id])
		}
	}
	// Both indexes agree with the log.
	if _, err := s.indexedUpTo(t.Context()); err != nil {
		t.Fatal(err)
	}
	consistent(t, s)
}

// consistent checks the file itself.
func consistent(t testing.TB, s *Store) {
	t.Helper()
	err := s.read(t.Context(), func(c *conn) error {
		for name, q := range map[string]string{
			"events without their topic's index":  `SELECT count(*) FROM events e, log WHERE seq <= indexed AND NOT EXISTS (SELECT 1 FROM topic_events i WHERE i.topic_id = e.topic_id AND i.seq = e.seq)`,
			"index rows without their event":      `SELECT count(*) FROM topic_events i WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = i.seq AND e.topic_id = i.topic_id)`,
			"events without their key's index":    `SELECT count(*) FROM events e, log WHERE seq <= indexed AND key_hash IS NOT NULL AND NOT EXISTS (SELECT 1 FROM event_keys k WHERE k.hash = e.key_hash AND k.seq = e.seq)`,
			"index rows without their key":        `SELECT count(*) FROM event_keys k WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = k.seq AND e.key_hash = k.hash)`,
			"events with a key but without hash":  `SELECT count(*) FROM events WHERE (key = '') <> (key_hash IS NULL)`,
			"events of unknown topics":            `SELECT count(*) FROM events WHERE topic_id NOT IN (SELECT id FROM topics)`,
			"broken foreign keys":                 `SELECT count(*) FROM pragma_foreign_key_check`,
			"complaints of the integrity check":   `SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'`,
			"keys that are there more than once":  `SELECT count(*) FROM (SELECT 1 FROM events WHERE key <> '' GROUP BY topic_id, sender, key HAVING count(*) > 1)`,
			"events that are newer than the next": `SELECT count(*) FROM (SELECT at, lead(at) OVER (ORDER BY seq) AS later FROM events) WHERE later < at`,
		} {
			n, _, err := c.one(q)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if n != 0 {
				t.Errorf("there are %d %s", n, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A kill between any two steps of an open must not look like another file.
func TestKilledWhileOpening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir)
	want := add(t, s, message("room:a", "u", "", 1))
	epoch := position(t, s).Epoch
	shut(t, s)
	old := copyFolder(t, dir, t.TempDir())
	points := []string{"before the seal", "between the seal and the database", "after the database", "after the seal"}
	die := func(t *testing.T, dir, point string) {
		cmd := childCommand(t, "open", dir, "TEAHOUSE_DB_POINT="+point)
		out, err := cmd.Output()
		if len(out) > 0 || err == nil || cmd.ProcessState.Success() {
			t.Fatalf("the child was not killed %s: %v %s", point, err, out)
		}
	}
	for _, first := range points {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			for _, second := range append(points, "") {
				dir := copyFolder(t, dir, t.TempDir())
				die(t, dir, first)
				if second != "" {
					die(t, dir, second)
				}
				s := openIn(t, dir)
				if got := position(t, s).Epoch; got != epoch {
					t.Errorf("killed %s and %s: the epoch was renewed", first, second)
				}
				if got := replay(t, s, "room:a"); len(got) != 1 || got[0].Seq != want[0].Seq {
					t.Errorf("killed %s and %s: the log holds %v", first, second, got)
				}
				shut(t, s)
			}
			// But an old copy is noticed afterwards, whatever happened before.
			mine := copyFolder(t, dir, t.TempDir())
			die(t, mine, first)
			s := openIn(t, mine)
			add(t, s, message("room:a", "u", "", 2))
			shut(t, s)
			copyFile(t, filepath.Join(old, fileName), filepath.Join(mine, fileName))
			die(t, mine, first)
			s = openIn(t, mine)
			renewed := position(t, s).Epoch
			if renewed == epoch {
				t.Errorf("an old copy, killed %s: the epoch is still the same", first)
			}
			shut(t, s)
			s = openIn(t, mine)
			if got := position(t, s).Epoch; got != renewed {
				t.Errorf("an old copy, killed %s: the epoch was renewed once more", first)
			}
		})
	}
}

// With durability normal a power cut may have taken the newest events, so
// their numbers are not given again.
func TestSeqAfterUncleanStop(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		durability string
		clean      bool
		jumps      bool
	}{{Full, true, false}, {Full, false, false}, {Normal, true, false}, {Normal, false, true}} {
		t.Run(fmt.Sprintf("%s clean=%v", test.durability, test.clean), func(t *testing.T) {
			t.Parallel()
			set := func(o *Options) { o.Durability = test.durability }
			s := openIn(t, t.TempDir(), set)
			last := add(t, s, message("room:a", "u", "", 1))[0].Seq
			dir := s.opts.Dir
			if !test.clean {
				dir = crash(t, s)
			}
			shut(t, s)
			// Also if it is opened with the other durability now.
			s = openIn(t, dir)
			next := add(t, s, message("room:a", "u", "", 2))[0].Seq
			if jumped := next > last+lostAtMost; jumped != test.jumps || next <= last {
				t.Errorf("Seq %d follows %d", next, last)
			}
			if got := seqs(replay(t, s, "room:a")); len(got) != 2 {
				t.Errorf("the log holds %v", got)
			}
		})
	}
}
