package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mdp/qrterminal/v3"
	"golang.org/x/term"

	"teahouse/chat/api"
	"teahouse/db"
)

// greet tells the person at the terminal that the server is ready and how to
// reach it: the contract's line first, then what phones in the LAN can open.
func greet(o *serveOptions, addr net.Addr, url string, made api.Secrets) {
	say := words[o.language]
	if made.Password != "" {
		fmt.Fprintf(o.stderr, say.password+"\n", made.Password)
	}
	if made.APIKey != "" {
		fmt.Fprintf(o.stderr, say.apiKey+"\n", made.APIKey)
	}
	if made.Password != "" || made.APIKey != "" {
		fmt.Fprintln(o.stderr, say.once)
	}
	fmt.Fprintf(o.stdout, "listening on %s\n", url)
	tcp := addr.(*net.TCPAddr)
	pages := lanPages(tcp)
	for _, p := range pages {
		fmt.Fprintf(o.stdout, say.page+"\n", p)
	}
	switch {
	case tcp.IP.IsLoopback():
		fmt.Fprintln(o.stdout, say.loopback)
		return
	case len(pages) == 0:
		fmt.Fprintln(o.stdout, say.noNetwork)
		return
	}
	show := o.qr == "always"
	if f, ok := o.stdout.(*os.File); ok && o.qr == "auto" {
		show = term.IsTerminal(int(f.Fd()))
	}
	if show {
		qrterminal.GenerateWithConfig(pages[0], qrterminal.Config{
			Level: qrterminal.M, Writer: o.stdout, HalfBlocks: true, QuietZone: 2,
			BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
			BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
		})
		fmt.Fprintln(o.stdout, say.scan)
	}
}

// lanPages returns the addresses under which other devices reach the page,
// the likeliest first.
func lanPages(tcp *net.TCPAddr) []string {
	if !tcp.IP.IsUnspecified() {
		if tcp.IP.IsLoopback() {
			return nil
		}
		return []string{localURL(tcp) + "/"}
	}
	var private, others []string
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok || n.IP.IsLinkLocalUnicast() || n.IP.IsLoopback() {
				continue
			}
			page := "http://" + net.JoinHostPort(n.IP.String(), strconv.Itoa(tcp.Port)) + "/"
			// Addresses that containers make sit in the same ranges; a phone's
			// network is nearly always IPv4.
			if n.IP.To4() != nil && n.IP.IsPrivate() && !strings.HasPrefix(i.Name, "docker") && !strings.HasPrefix(i.Name, "br-") && !strings.HasPrefix(i.Name, "veth") {
				private = append(private, page)
			} else {
				others = append(others, page)
			}
		}
	}
	return append(private, others...)
}

// parseRetain reads a rule like room:*=30d/10000.
func parseRetain(rule string) (db.RetainRule, error) {
	bad := func(why string) (db.RetainRule, error) {
		return db.RetainRule{}, usage("--retain %q: %s; write TOPIC=AGE/COUNT, for example room:*=30d/10000", rule, why)
	}
	i := strings.LastIndexByte(rule, '=')
	if i <= 0 {
		return bad("there is no topic")
	}
	age, count, ok := strings.Cut(rule[i+1:], "/")
	if !ok {
		return bad("there is no / between age and count")
	}
	r := db.RetainRule{Pattern: rule[:i]}
	if star := strings.IndexByte(r.Pattern, '*'); star >= 0 && star != len(r.Pattern)-1 {
		return bad("a * may only stand at the end of the topic")
	}
	if days, ok := strings.CutSuffix(age, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return bad("the age is not a number of days")
		}
		r.Age = time.Duration(n) * 24 * time.Hour
	} else if age != "0" {
		d, err := time.ParseDuration(age)
		if err != nil || d < 0 {
			return bad("the age is neither days (30d) nor hours (12h)")
		}
		r.Age = d
	}
	n, err := strconv.ParseUint(count, 10, 32)
	if err != nil {
		return bad("the count is not a number")
	}
	r.Count = int(n)
	return r, nil
}

// listenError says in one sentence why nobody can listen at addr.
func listenError(addr string, err error) error {
	say := words[language()]
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return exitf(exitPortBusy, say.portBusy, addr)
	case errors.Is(err, syscall.EACCES):
		return exitf(exitUsage, say.portDenied, addr)
	}
	return exitf(exitUsage, say.portOther, addr, err)
}

// openError finds the exit code and the words for a database that could not
// be opened.
func openError(err error) error {
	var e *db.OpenError
	if !errors.As(err, &e) {
		return err
	}
	codes := map[db.Reason]int{
		db.NotWritable: exitNotWritable, db.DiskFull: exitDiskFull, db.Locked: exitLocked,
		db.Damaged: exitDamaged, db.Foreign: exitDamaged, db.NewerSchema: exitNewerSchema,
	}
	code, ok := codes[e.Reason]
	if !ok {
		code = exitFailed
	}
	if sentence := words[language()].open[e.Reason]; sentence != "" {
		if e.Err == nil { // the sentence says it all
			return exitf(code, sentence, e.Path)
		}
		return exitf(code, sentence+" (%w)", e.Path, e.Err)
	}
	return &exitError{code, err}
}
