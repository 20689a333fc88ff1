package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// nginx is a real one, in front of a server as panels set it up. It is a child
// with its own folder and its own sockets; a service of the machine's is left
// alone.
type nginx struct {
	plain, secure string // HOST:PORT
	pool          *x509.CertPool
	stop          func() // like a crash
}

// nginxConfig is what the BaoTa panel writes for a reverse proxy, with another
// read timeout. /slow/ leads to another server.
const nginxConfig = `
daemon off; master_process off; pid DIR/pid; error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
	server {
		listen PLAIN;
		listen SECURE ssl;
		server_name old.example;
		ssl_certificate DIR/cert.pem;
		ssl_certificate_key DIR/key.pem;
		ssl_protocols TLSv1.2 TLSv1.3;
		location / {
			proxy_pass http://TARGET;
			proxy_set_header Host $host;
			proxy_set_header X-Real-IP $remote_addr;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header REMOTE-HOST $remote_addr;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_http_version 1.1;
			proxy_read_timeout 5s;
		}
		location /slow/ {
			proxy_pass http://OTHER/;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_http_version 1.1;
			proxy_read_timeout 5s;
		}
		location /stripped/ {
			proxy_pass http://TARGET/;
		}
	}
}
`

func startNginx(t *testing.T, target, other string) *nginx {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx"
		if _, err := os.Stat(program); err != nil {
			needed(t, "nginx is not installed")
		}
	}
	dir := t.TempDir()
	pool := x509.NewCertPool()
	selfSigned(t, dir, pool)
	for range 5 { // it cannot say which ports it got, so somebody may be faster
		if n := tryNginx(t, program, dir, target, other); n != nil {
			n.pool = pool
			return n
		}
	}
	t.Fatal("nginx found no free ports")
	return nil
}

// tryNginx starts it at ports that are free at this moment. It is nil if they
// are not any more.
func tryNginx(t *testing.T, program, dir, target, other string) *nginx {
	t.Helper()
	n := &nginx{}
	var held []net.Listener // so that the two differ
	for _, addr := range []*string{&n.plain, &n.secure} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*addr = l.Addr().String()
		held = append(held, l)
	}
	config := strings.NewReplacer("DIR", dir, "PLAIN", n.plain, "SECURE", n.secure, "TARGET", target, "OTHER", other).Replace(nginxConfig)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf"))
	dieWithParent(cmd)
	stderr := &output{}
	cmd.Stderr = stderr
	for _, l := range held {
		l.Close()
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	n.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	t.Cleanup(n.stop)
	taken := false
	eventually(t, "nginx", func() bool {
		select {
		case <-ended:
			if taken = strings.Contains(stderr.String(), "bind()"); !taken {
				t.Fatalf("nginx did not start: %s", stderr)
			}
			return true
		default:
		}
		res, err := backend.Get("http://" + n.plain + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	if taken {
		return nil
	}
	return n
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T, dir string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})) {
		t.Fatal("the certificate cannot be read")
	}
}

// dialer connects from an address of this computer, and trusts the proxy's
// certificate.
func (n *nginx) dialer(from string) *websocket.Dialer {
	return &websocket.Dialer{
		HandshakeTimeout: patience,
		TLSClientConfig:  &tls.Config{RootCAs: n.pool},
		NetDial: (&net.Dialer{
			LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)},
		}).Dial,
	}
}

// TestLegacyNginx: idle clients of each protocol stay connected behind a proxy
// that cuts silent connections, with TLS and without, and work afterwards. A
// server that pings too seldom loses them: so the proxy does cut.
func TestLegacyNginx(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--ping-every=2s")
	seldom := open(t, t.TempDir())
	n := startNginx(t, h.host(), seldom.host())
	d := n.dialer("127.0.0.1")
	type idle struct {
		name, says, hears string
		*oldClient
	}
	var all []idle
	for _, base := range []string{"ws://" + n.plain, "wss://" + n.secure} {
		for _, c := range []idle{
			{name: "/compat/room?user_id=r", says: `{"to_user_id":"r","message":"x"}`},
			{name: "/compat/room?user_id="},
			{name: "/compat/voucher?&user_id=v"},
			{name: "/compat/relay"},
			{name: "/compat/echo", says: "x", hears: "hello x"},
			{name: "/compat/typed", says: `{"type":"message","text":"x"}`, hears: `{"type":"message","data":"x"}`},
			{name: "/compat/event", says: `{"event":"ping","uuid":1}`, hears: respon("1", 1, "PING检查连接不可用")},
			{name: "/", says: `{"a":1}`},
			{name: "/?user_id=root"},
			{name: "/ws", says: `{"op":"ping"}`, hears: `{"op":"pong"}`},
		} {
			var err error
			c.name = base + c.name
			if c.oldClient, err = dialOldBy(t, d, c.name); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(c.name, "/ws") {
				c.oldClient.says(`{"op":"hello","user":"native"}`)
				c.next()
			}
			all = append(all, c)
		}
	}
	var cut []*oldClient
	for _, path := range []string{"/slow/compat/relay", "/slow/compat/event", "/slow/ws"} {
		c, err := dialOldBy(t, d, "ws://"+n.plain+path)
		if err != nil {
			t.Fatal(err)
		}
		cut = append(cut, c)
	}
	connected := time.Now()
	for _, c := range cut {
		c.await(patience, func() bool { return c.over })
		if took := time.Since(connected); took < 4*time.Second || took > 30*time.Second || c.code != 0 {
			t.Errorf("the proxy cuts after %s with %d; the test proves nothing", took, c.code)
		}
	}
	time.Sleep(time.Until(connected.Add(17 * time.Second)))
	for _, c := range all {
		c.mu.Lock()
		over, pings := c.over, c.pings
		c.mu.Unlock()
		if over {
			t.Errorf("%s is closed: %d %q", c.name, c.code, c.reason)
			continue
		}
		if pings < 4 {
			t.Errorf("%s was pinged %d times", c.name, pings)
		}
		c.settled()
		c.rest()
		if c.says != "" {
			c.oldClient.says(c.says)
		}
		if c.hears != "" {
			for c.next() != c.hears {
			}
		}
	}
	// Pages go the same way, and a proxy that drops the Upgrade is found out.
	for _, path := range []string{"/", "/stripped/"} {
		res, err := backend.Get("http://" + n.plain + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			t.Errorf("GET %s behind the proxy: %s", path, res.Status)
		}
	}
	if _, err := dialOldBy(t, d, "ws://"+n.plain+"/stripped/"); err == nil || !strings.Contains(err.Error(), "426") {
		t.Errorf("without the Upgrade header: %v", err)
	}
	if _, err := dialOldBy(t, d, "ws://"+n.plain+"/stripped/compat/room"); err == nil || !strings.Contains(err.Error(), "426") {
		t.Errorf("without the Upgrade header: %v", err)
	}
}

// TestLegacyNginxAddress: who the client is says the proxy, and nobody else.
func TestLegacyNginxAddress(t *testing.T) {
	t.Parallel()
	strict := open(t, t.TempDir(), "--trusted-proxy=127.0.0.1")
	none := open(t, t.TempDir(), "--trusted-proxy=none")
	behindStrict, behindNone := startNginx(t, strict.host(), strict.host()), startNginx(t, none.host(), none.host())
	for i, c := range []struct {
		house  *house
		proxy  *nginx // nil: directly
		from   string
		header []string
		want   string
	}{
		{strict, behindStrict, "127.0.0.2", nil, "127.0.0.2"},
		{strict, behindStrict, "127.0.0.2", []string{"X-Forwarded-For", "203.0.113.9", "X-Real-IP", "203.0.113.9"}, "127.0.0.2"},
		{none, behindNone, "127.0.0.2", nil, "127.0.0.1"},
		{strict, nil, "127.0.0.2", []string{"X-Forwarded-For", "203.0.113.9", "X-Real-IP", "203.0.113.9"}, "127.0.0.2"},
		{strict, nil, "127.0.0.1", []string{"X-Forwarded-For", "203.0.113.9"}, "203.0.113.9"},
	} {
		for _, path := range []string{"/compat/room?user_id=", "/?user_id=", "/compat/typed?user=", "/?user="} {
			user := fmt.Sprintf("u%d%d", i, len(path))
			host, d := c.house.host(), (&nginx{}).dialer(c.from)
			if c.proxy != nil {
				host = c.proxy.plain
			}
			x, err := dialOldBy(t, d, "ws://"+host+path+user, c.header...)
			if err != nil {
				t.Fatal(err)
			}
			x.says(`{"a":1}`)
			x.settled()
			if got := c.house.sessions("user=" + user); len(got) != 1 || got[0].Addr != c.want {
				t.Errorf("%d %s: %+v; want %s", i, path, got, c.want)
			}
		}
	}
}

// TestLegacyNginxDies: a proxy acknowledges what its client never got. When
// the proxy is restarted while the client's network is gone, that is no proof
// that it arrived.
func TestLegacyNginxDies(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--ping-every=2s")
	n := startNginx(t, h.host(), h.host())
	wire := newRelay(t, func() (string, error) { return n.plain, nil }, nil)
	network := &route{}
	network.set(wire.addr())
	page := roomPage(t, network, "/?user_id=alice").start()
	eventually(t, "the page", func() bool { return len(h.sessions("")) == 1 })
	h.say(lobby, map[string]string{"text": "1"})
	eventually(t, "a line", func() bool { return page.shows() == "1" })
	c, _ := page.now()
	c.proves()
	network.set("")
	wire.freeze()
	h.say(lobby, map[string]string{"text": "2"})
	time.Sleep(2500 * time.Millisecond)
	n.stop()
	eventually(t, "the proxy's end", func() bool { return len(h.sessions("")) == 0 })
	h.say(lobby, map[string]string{"text": "3"})
	c.breaks(false)
	network.set(h.host())
	eventually(t, "the page's return", func() bool { _, opens := page.now(); return opens == 2 })
	h.say(lobby, map[string]string{"text": "4"})
	eventually(t, "the last line", func() bool { return strings.HasSuffix(page.shows(), "4") })
	if got := page.shows(); got != "1 2 3 4" {
		t.Errorf("the page shows %q", got)
	}
}

// TestPingEvery: the flag is checked, and said to clients.
func TestPingEvery(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"0s", "500ms", "1500ms", "61s", "-1s"} {
		code, _, stderr := command(t, "serve", "--data", t.TempDir(), "--ping-every="+bad)
		if code != exitUsage || !strings.Contains(stderr, "--ping-every") {
			t.Errorf("%s: %d %s", bad, code, stderr)
		}
	}
	h := open(t, t.TempDir(), "--ping-every=7s")
	if _, w := enter(t, h.ws(), "alice"); w.PingMS != 8000 {
		t.Errorf("ping_ms is %d", w.PingMS)
	}
}
