package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// These tests announce in LANs of their own: two network namespaces and a
// cable between them. Nothing reaches the LAN of who runs them.

// computer is a network namespace. It belongs to a thread, and ends with it.
type computer struct {
	t    *testing.T
	proc string // the thread's folder in /proc
	tid  int
	jobs chan func()
}

func newComputer(t *testing.T) *computer {
	t.Helper()
	c := &computer{t: t, jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no use to others
		err := unix.Unshare(unix.CLONE_NEWNET)
		c.tid = unix.Gettid()
		c.proc = fmt.Sprintf("/proc/%d/task/%d/", os.Getpid(), c.tid)
		ready <- err
		for job := range c.jobs {
			job()
		}
	}()
	t.Cleanup(func() { close(c.jobs) })
	if err := <-ready; err != nil {
		needed(t, "making a network namespace needs root and its capabilities: %v", err)
	}
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			needed(t, "the program %s is missing (packages iproute2, util-linux): %v", tool, err)
		}
	}
	c.do(func() {
		// The system itself shall say nothing.
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	})
	return c
}

// do runs f where the computer's network is.
func (c *computer) do(f func()) {
	done := make(chan struct{})
	c.jobs <- func() {
		defer close(done)
		f()
	}
	<-done
}

// inside makes a command run in the computer.
func (c *computer) inside(cmd *exec.Cmd) *exec.Cmd {
	c.t.Helper()
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		c.t.Fatal(err)
	}
	cmd.Args = append([]string{nsenter, "--net=" + c.proc + "ns/net", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = nsenter
	return cmd
}

func (c *computer) ip(line string) {
	c.t.Helper()
	if out, err := c.inside(exec.Command("ip", strings.Fields(line)...)).CombinedOutput(); err != nil {
		c.t.Fatalf("ip %s: %v: %s", line, err, out)
	}
}

// serve starts a server in the computer.
func (c *computer) serve(args ...string) *house {
	c.t.Helper()
	h := &house{t: c.t, data: c.t.TempDir()}
	furnish(c.t, h.data)
	h.launch(c.inside(child(serveArgs(h.data, args))))
	return h
}

// sent counts what the computer has sent to the LAN.
func (c *computer) sent() int {
	c.t.Helper()
	b, err := os.ReadFile(c.proc + "net/dev")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if name, counts, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "lan0" {
			n, err := strconv.Atoi(strings.Fields(counts)[9])
			if err != nil {
				c.t.Fatal(err)
			}
			return n
		}
	}
	c.t.Fatalf("there is no lan0: %s", b)
	return 0
}

// lan joins two computers by a cable, with the given addresses.
func lan(t *testing.T, addrs ...string) (a, b *computer) {
	t.Helper()
	a, b = newComputer(t), newComputer(t)
	a.ip(fmt.Sprintf("link add lan0 type veth peer name lan0 netns %d", b.tid))
	for i, c := range []*computer{a, b} {
		c.ip("link set lo up")
		c.ip("addr add " + addrs[i] + " dev lan0")
		c.ip("link set lan0 up")
	}
	return a, b
}

// phone is somebody in the LAN who listens, and asks.
type phone struct {
	t     *testing.T
	conn  *net.UDPConn
	heard chan dnsmessage.Message
}

func newPhone(c *computer) *phone {
	c.t.Helper()
	p := &phone{t: c.t, heard: make(chan dnsmessage.Message, 100)}
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251)}
	var err error
	c.do(func() {
		if p.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(224, 0, 0, 0), Port: 5353}); err != nil {
			return
		}
		var i *net.Interface
		if i, err = net.InterfaceByName("lan0"); err != nil {
			return
		}
		packet := ipv4.NewPacketConn(p.conn)
		if err = packet.SetMulticastLoopback(false); err == nil {
			err = packet.SetMulticastInterface(i)
		}
		if err == nil {
			err = packet.JoinGroup(i, group)
		}
	})
	if err != nil {
		c.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 9000); ; {
			n, _, err := p.conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) == nil && m.Response {
				select {
				case p.heard <- m:
				default: // nobody listens any more
				}
			}
		}
	}()
	c.t.Cleanup(func() {
		p.conn.Close()
		<-done
	})
	return p
}

// ask looks for servers.
func (p *phone) ask() {
	p.t.Helper()
	packet, err := (&dnsmessage.Message{Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName(serviceType + ".local."), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET,
	}}}).Pack()
	if err == nil {
		_, err = p.conn.WriteToUDP(packet, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for a message.
func (p *phone) expect(what string, ok func(dnsmessage.Message) bool) dnsmessage.Message {
	p.t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case m := <-p.heard:
			if ok(m) {
				return m
			}
		case <-deadline:
			p.t.Fatalf("nobody said %s", what)
		}
	}
}

// found is a server as a client learns of it.
type found struct {
	name, host string
	addr       string // IP:PORT
	text       []string
	ttl        uint32 // of the name
}

func foundIn(m dnsmessage.Message) (f found) {
	var ip, port string
	for _, r := range slices.Concat(m.Answers, m.Additionals) {
		switch b := r.Body.(type) {
		case *dnsmessage.PTRResource:
			if r.Header.Name.String() == serviceType+".local." {
				f.name, f.ttl = strings.TrimSuffix(b.PTR.String(), "."+serviceType+".local."), r.Header.TTL
			}
		case *dnsmessage.SRVResource:
			f.host, port = b.Target.String(), strconv.Itoa(int(b.Port))
		case *dnsmessage.AResource:
			ip = net.IP(b.A[:]).String()
		case *dnsmessage.TXTResource:
			f.text = b.TXT
		}
	}
	f.addr = net.JoinHostPort(ip, port)
	return f
}

// TestFoundInLAN: a server in the LAN is found, the address works, and it is
// gone when it stops.
func TestFoundInLAN(t *testing.T) {
	t.Parallel()
	box, pocket := lan(t, "10.77.0.1/24", "10.77.0.2/24")
	p := newPhone(pocket)
	h := box.serve("--addr=:0", "--announce", "--auth=token")
	for range 2 {
		p.expect("that it is there", func(m dnsmessage.Message) bool { return len(m.Answers) > 1 && foundIn(m).ttl > 0 })
	}
	p.ask()
	got := foundIn(p.expect("where it is", func(m dnsmessage.Message) bool { return len(m.Answers) == 1 && foundIn(m).name != "" }))

	_, port, _ := net.SplitHostPort(h.host())
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if want := lanService(hostname, 0, true, version()); got.name != want.Instance || got.addr != "10.77.0.1:"+port || !slices.Equal(got.text, want.Text) {
		t.Errorf("found %+v; want %+v at 10.77.0.1:%s", got, want, port)
	}
	for _, secret := range []string{testKey, testPassword, h.data} {
		if strings.Contains(fmt.Sprint(got), secret) {
			t.Errorf("the LAN is told a secret: %+v", got)
		}
	}
	// Where the announcement leads to, a WebSocket waits.
	var conn net.Conn
	pocket.do(func() { conn, err = net.DialTimeout("tcp4", got.addr, patience) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", strings.TrimPrefix(got.text[0], "path="), got.addr)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("the announced path answers %s", res.Status)
	}

	// A second server of this computer has another name, and shares the port.
	second := box.serve("--addr=:0", "--announce")
	other := foundIn(p.expect("that there is a second one", func(m dnsmessage.Message) bool {
		f := foundIn(m)
		return f.name != "" && f.name != got.name
	}))
	if other.name != got.name+" (2)" || other.addr == got.addr || other.text[1] != "auth=open" {
		t.Errorf("the second server: %+v", other)
	}
	for _, end := range []struct {
		h *house
		f found
	}{{h, got}, {second, other}} {
		if code := end.h.stop(); code != exitOK {
			t.Errorf("stop: %d: %s", code, end.h.stderr)
		}
		bye := foundIn(p.expect("goodbye", func(m dnsmessage.Message) bool { return m.Answers[0].Header.TTL == 0 }))
		if bye.name != end.f.name {
			t.Errorf("goodbye of %q; want %q", bye.name, end.f.name)
		}
	}
	if n := strings.Count(h.stderr.String(), "announced in the LAN"); n != 1 {
		t.Errorf("the log says it %d times: %s", n, h.stderr)
	}
}

// TestSilent: who is not to be found says nothing at all.
func TestSilent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, addr, peer string
		args             []string
	}{
		{"loopback only", "10.77.1.1/24", "10.77.1.2/24", []string{"--addr=127.0.0.1:0", "--announce"}},
		{"switched off", "10.77.1.1/24", "10.77.1.2/24", []string{"--addr=:0", "--announce=false"}},
		{"public network", "203.0.113.1/24", "203.0.113.2/24", []string{"--addr=:0", "--announce"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			box, pocket := lan(t, tt.addr, tt.peer)
			p := newPhone(pocket)
			before := box.sent()
			h := box.serve(tt.args...)
			p.ask()
			<-time.After(1500 * time.Millisecond) // a server that speaks has told twice by now
			p.ask()
			if code := h.stop(); code != exitOK {
				t.Errorf("stop: %d: %s", code, h.stderr)
			}
			if n := box.sent() - before; n != 0 {
				t.Errorf("%d packets were sent", n)
			}
			if s := h.stderr.String(); strings.Contains(s, "LAN") {
				t.Errorf("the log: %s", s)
			}
		})
	}
}

// TestOneAddress: a listener at one address is announced in that network only.
func TestOneAddress(t *testing.T) {
	t.Parallel()
	box, pocket := lan(t, "10.77.2.1/24", "10.77.2.2/24")
	box.ip("link add lan1 type veth peer name plug1")
	box.ip("addr add 10.77.3.1/24 dev lan1")
	box.ip("link set plug1 up")
	box.ip("link set lan1 up")
	p := newPhone(pocket)
	before := box.sent()
	elsewhere := box.start("10.77.3.1")
	eventually(t, "the log to say where", func() bool { return strings.Contains(elsewhere.String(), "interfaces=lan1") })
	if n := box.sent() - before; n != 0 {
		t.Errorf("%d packets were sent to the other network", n)
	}
	box.start("10.77.2.1")
	p.expect("that it is there", func(m dnsmessage.Message) bool { return foundIn(m).name != "" })
}

// start starts a server at one address of the computer, and returns its log.
func (c *computer) start(ip string) *output {
	c.t.Helper()
	data, log := c.t.TempDir(), &output{}
	furnish(c.t, data)
	cmd := c.inside(child(serveArgs(data, []string{"--addr=" + ip + ":0", "--announce"})))
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return log
}

// TestCannotAnnounce: a server whose LAN cannot be told starts as ever.
func TestCannotAnnounce(t *testing.T) {
	t.Parallel()
	t.Run("the port is taken", func(t *testing.T) {
		t.Parallel()
		box, _ := lan(t, "10.77.4.1/24", "10.77.4.2/24")
		var greedy *net.UDPConn
		var err error
		box.do(func() { greedy, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 5353}) })
		if err != nil {
			t.Fatal(err)
		}
		defer greedy.Close()
		h := box.serve("--addr=:0", "--announce")
		eventually(t, "a line in the log", func() bool { return strings.Contains(h.stderr.String(), "not announced in the LAN") })
		if code := h.stop(); code != exitOK {
			t.Errorf("stop: %d: %s", code, h.stderr)
		}
		log := h.stderr.String()
		if strings.Count(log, "LAN:") != 1 || !strings.Contains(log, "level=WARN") || !strings.Contains(log, "5353") || !strings.Contains(log, "--announce=false") {
			t.Errorf("the log: %s", log)
		}
	})
	t.Run("no network", func(t *testing.T) {
		t.Parallel()
		box := newComputer(t)
		box.ip("link set lo up")
		h := box.serve("--addr=:0", "--announce")
		if code := h.stop(); code != exitOK || strings.Contains(h.stderr.String(), "LAN") {
			t.Errorf("stop: %d: %s", code, h.stderr)
		}
	})
}
