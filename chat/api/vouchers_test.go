package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
	"teahouse/chat/storetest"
)

// vouchers are what the memory keeps of vouchers and staff: the suite's own
// store, checked as the hub checks.
type vouchers struct {
	once  sync.Once
	store *storetest.Memory
	staff map[string]chat.Staff

	passes *chat.Passes
	mode   chat.PassMode
	leap   *chat.ClockLeap
}

// passKey is the house's, for passes.
var passKey = []byte("the key of the passes of a test.")

// clocked sets the clock of the memory's vouchers.
func (m *memory) clocked(now func() time.Time) {
	m.vouchers.once.Do(func() {
		m.vouchers.store, m.vouchers.staff = storetest.NewMemory(now), map[string]chat.Staff{}
		m.vouchers.passes = chat.NewPasses(chat.PassOptions{Mode: m.vouchers.mode, Key: passKey, Clock: now})
	})
}

func (m *memory) ClockLeap() (chat.ClockLeap, bool) {
	if m.vouchers.leap == nil {
		return chat.ClockLeap{}, false
	}
	return *m.vouchers.leap, true
}

func (m *memory) Issue(ctx context.Context, o chat.VoucherOrder) ([]chat.Voucher, error) {
	if err := o.Check(m.Limits()); err != nil {
		return nil, err
	}
	if m.fail != nil {
		return nil, m.fail
	}
	return m.vouchers.store.Issue(ctx, o)
}

func (m *memory) ChangeVoucher(ctx context.Context, code string, a chat.VoucherAct) (chat.VoucherChange, error) {
	code, err := m.vouchers.passes.Read(code, &a)
	if err != nil {
		return chat.VoucherChange{}, err
	}
	if err := a.Check(); err != nil {
		return chat.VoucherChange{}, err
	}
	a.Window = 24 * time.Hour
	return m.vouchers.store.Change(ctx, code, a)
}

func (m *memory) Import(ctx context.Context, i chat.VoucherImport) (chat.ImportState, error) {
	return m.vouchers.store.Import(ctx, i)
}

func (m *memory) ImportState(ctx context.Context, batch string) (chat.ImportState, error) {
	return m.vouchers.store.ImportState(ctx, batch)
}

func (m *memory) Voucher(ctx context.Context, code string) (chat.Voucher, []chat.VoucherEntry, error) {
	return m.vouchers.store.Voucher(ctx, code)
}

func (m *memory) Vouchers(ctx context.Context, q chat.VoucherQuery) ([]chat.Voucher, error) {
	return m.vouchers.store.Vouchers(ctx, q)
}

func (m *memory) Staff(context.Context) ([]chat.Staff, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []chat.Staff
	for _, name := range slices.Sorted(maps.Keys(m.vouchers.staff)) {
		list = append(list, m.vouchers.staff[name])
	}
	return list, m.fail
}

func (m *memory) StaffByName(_ context.Context, name string) (chat.Staff, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.vouchers.staff[name]
	return s, ok, m.fail
}

func (m *memory) AddStaff(_ context.Context, s chat.Staff) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, taken := m.vouchers.staff[s.Name]
	if !taken {
		m.vouchers.staff[s.Name] = s
	}
	return !taken, m.fail
}

func (m *memory) ChangeStaff(_ context.Context, s chat.Staff) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.vouchers.staff[s.Name]
	if ok {
		m.vouchers.staff[s.Name] = s
	}
	return ok, m.fail
}

func (m *memory) RemoveStaff(_ context.Context, name string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.vouchers.staff[name]
	delete(m.vouchers.staff, name)
	return ok, m.fail
}

// newShop is a house with vouchers, on the test's clock.
func newShop(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.store.clocked(h.clock.now)
	return h
}

// issue makes vouchers with the API key.
func (h *house) issue(body string) []chat.Voucher {
	h.t.Helper()
	var out api.IssuedVouchers
	h.ask("POST", "/api/v1/vouchers", body).ok(200, &out)
	return out.Vouchers
}

func (h *house) change(code, what, body string, header ...string) *reply {
	h.t.Helper()
	return h.ask("POST", "/api/v1/vouchers/"+url.PathEscape(code)+"/"+what, body, header...)
}

func (h *house) client(user string) []string {
	h.t.Helper()
	token, _, err := h.opts.Tokens.Issue(user, 0)
	must(h.t, err)
	return []string{"Authorization", "Bearer " + token}
}

func TestVoucherLife(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	expires := begin.Add(time.Hour).UnixMilli()
	list := h.issue(fmt.Sprintf(`{"name":"两杯茶 <b>","owner":"alice","count":3,"ref":81,"expires_at":%d,"note":"n","extra":true}`, expires))
	equal(t, "vouchers", len(list), 3)
	v := list[0]
	want := chat.Voucher{Code: v.Code, Ref: "81", Name: "两杯茶 <b>", Owner: "alice", Status: "issued", Batch: v.Batch, Note: "n", IssuedAt: begin.UnixMilli(), ExpiresAt: expires}
	equal(t, "issued", v, want)
	if v.Batch == "" || list[1].Batch != v.Batch || list[1].Code == v.Code {
		t.Errorf("the batch: %+v", list)
	}

	h.clock.forward(time.Minute)
	var out api.ChangedVoucher
	dressed := strings.ToLower(chat.ShowVoucherCode(v.Code)) + " "
	h.change(dressed, "redeem", `{"by":"Ann","station":"Gate 1","key":"k1"}`).ok(200, &out)
	want.Status, want.RedeemedAt, want.RedeemedBy, want.Station = "redeemed", begin.Add(time.Minute).UnixMilli(), "Ann", "Gate 1"
	equal(t, "redeemed", out, api.ChangedVoucher{Voucher: want, First: true})
	h.clock.forward(time.Minute)
	h.change(v.Code, "redeem", `{"by":"Ann","station":"Gate 1","key":"k1"}`).ok(200, &out)
	equal(t, "the same key again", out, api.ChangedVoucher{Voucher: want})

	r := h.change(v.Code, "redeem", `{"by":"Bob","key":"k2"}`)
	p := r.problem(409, chat.CodeVoucherRedeemed)
	equal(t, "who", p.RedeemedBy, "Ann")
	equal(t, "where", p.Station, "Gate 1")
	equal(t, "when", p.RedeemedAt, want.RedeemedAt)
	equal(t, "which", *p.Voucher, want)
	if !strings.Contains(p.Detail, "Ann at Gate 1 on 20") {
		t.Errorf("the sentence: %s", p.Detail)
	}
	if p := h.change(v.Code, "redeem", `{"by":"Bob","key":"k2"}`, "Accept-Language", "zh-CN").problem(409, chat.CodeVoucherRedeemed); !strings.Contains(p.Detail, "已经核销过了：Ann，Gate 1，20") {
		t.Errorf("the sentence: %s", p.Detail)
	}
	h.change(v.Code, "void", `{"by":"Boss","reason":"x","key":"v"}`).problem(409, chat.CodeVoucherRedeemed)
	h.change(v.Code, "reverse", `{"by":"Boss","key":"r"}`).problem(400, chat.CodeBadRequest)
	out = api.ChangedVoucher{}
	h.change(v.Code, "reverse", `{"by":"Boss","reason":"slip","key":"r"}`).ok(200, &out)
	equal(t, "reversed", out.Voucher, v)
	h.change(v.Code, "reverse", `{"by":"Boss","reason":"slip","key":"r2"}`).problem(409, chat.CodeVoucherNotRedeemed)
	h.change(v.Code, "void", `{"by":"Boss","reason":"gone","key":"v"}`).ok(200, &out)
	h.change(v.Code, "redeem", `{"by":"Bob","key":"k3"}`).problem(409, chat.CodeVoucherVoid)
	// A late repeat is told what was, and does nothing.
	h.change(v.Code, "redeem", `{"by":"Ann","station":"Gate 1","key":"k1"}`).ok(200, &out)
	equal(t, "a late repeat", out, api.ChangedVoucher{Voucher: want})

	var one api.VoucherWithLog
	r = h.ask("GET", "/api/v1/vouchers/"+v.Code, "").ok(200, &one)
	var log []string
	for _, e := range one.Log {
		log = append(log, fmt.Sprint(e.Action, " from ", e.From, " by ", e.By, " at ", e.Station, ": ", e.Reason))
	}
	equal(t, "the log", strings.Join(log, "; "), "issued from  by "+h.store.order[0]+" at : ; redeemed from issued by Ann at Gate 1: ; reversed from redeemed by Boss at : slip; void from issued by Boss at : gone")
	if strings.Contains(r.Body.String(), "k1") {
		t.Error("the log shows a request's key")
	}

	h.clock.forward(time.Hour - 2*time.Minute)
	p = h.change(list[1].Code, "redeem", `{"by":"Ann","key":"k"}`).problem(410, chat.CodeVoucherExpired)
	equal(t, "the state", p.Voucher.Status, "expired")
	h.change(chat.NewVoucherCode(), "redeem", `{"by":"Ann","key":"k"}`).problem(404, chat.CodeVoucherUnknown)
	h.ask("GET", "/api/v1/vouchers/"+chat.NewVoucherCode(), "").problem(404, chat.CodeVoucherUnknown)
	h.ask("GET", "/api/v1/vouchers/81", "").problem(404, chat.CodeVoucherUnknown)
	for _, body := range []string{`{"key":"k"}`, `{"by":"Ann"}`, `{"by":"Ann","key":""}`, `{"by":5,"key":"k"}`, `[]`, ``} {
		h.change(list[2].Code, "redeem", body).problem(400, chat.CodeBadRequest)
	}
}

func TestVoucherRefusals(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	for body, code := range map[string]chat.Code{
		`{"owner":"alice"}`:                                                        chat.CodeBadRequest,
		`{"name":"x"}`:                                                             chat.CodeBadRequest,
		`{"name":"x","owner":" "}`:                                                 chat.CodeBadUser,
		`{"name":"x","owner":"alice","count":0}`:                                   chat.CodeBadRequest,
		`{"name":"x","owner":"alice","count":1001}`:                                chat.CodeBadRequest,
		`{"name":"x","owner":"alice","ref":1.5}`:                                   chat.CodeBadRequest,
		`{"name":"x","owner":"alice","ref":true}`:                                  chat.CodeBadRequest,
		`{"name":"x","owner":"alice","expires_at":1}`:                              chat.CodeBadRequest,
		`{"name":"x","owner":"alice","expires_at":1772600000}`:                     chat.CodeBadRequest,
		fmt.Sprintf(`{"name":"x","owner":"a","expires_at":%d}`, begin.UnixMilli()): chat.CodeBadRequest,
		`{"name":"` + strings.Repeat("x", 10000) + `","owner":"alice"}`:            chat.CodeBadRequest,
	} {
		h.ask("POST", "/api/v1/vouchers", body).problem(400, code)
	}
	for body, ref := range map[string]string{
		`{"name":"x","owner":"alice","ref":"A-1"}`: "A-1", `{"name":"x","owner":"alice","ref":12345678901234567}`: "12345678901234567",
		`{"name":"x","owner":"alice","ref":null,"note":null,"expires_at":null}`: "",
	} {
		equal(t, "ref", h.issue(body)[0].Ref, ref)
	}
	equal(t, "the most in one call", len(h.issue(`{"name":"x","owner":"alice","count":1000}`)), 1000)
}

// The same order again is the same vouchers, even if the answer to the first
// one was never kept.
func TestVoucherIssueIsIdempotent(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	body := `{"name":"x","owner":"alice","count":20}`
	ask := func(body string) *reply {
		return h.ask("POST", "/api/v1/vouchers", body, "Idempotency-Key", "order-81")
	}
	h.store.answered = chat.Errorf(chat.CodeStorage, "broken")
	first := ask(body).ok(200, nil)
	h.store.answered = nil
	second := ask(body).ok(200, nil)
	equal(t, "after a crash", second.Body.String(), first.Body.String())
	equal(t, "replayed", ask(body).ok(200, nil).Header().Get("Idempotency-Replayed"), "true")
	ask(`{"name":"y","owner":"alice","count":20}`).problem(409, chat.CodeKeyReused)
	clear(h.store.answers)
	ask(`{"name":"y","owner":"alice","count":20}`).problem(409, chat.CodeKeyReused)
	var list api.VoucherPage
	h.ask("GET", "/api/v1/vouchers", "").ok(200, &list)
	equal(t, "vouchers", len(list.Vouchers), 20)

	// Instead of a key in the body.
	code := list.Vouchers[0].Code
	var out api.ChangedVoucher
	h.change(code, "redeem", `{"by":"Ann"}`, "Idempotency-Key", "scan-1").ok(200, &out)
	clear(h.store.answers)
	h.change(code, "redeem", `{"by":"Ann"}`, "Idempotency-Key", "scan-1").ok(200, &out)
	equal(t, "first", out.First, false)
	h.change(code, "redeem", `{"by":"Ann"}`, "Idempotency-Key", "scan-2").problem(409, chat.CodeVoucherRedeemed)
}

func TestVoucherLists(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	for i := range 7 {
		owner := []string{"alice", "bob"}[i%2]
		list := h.issue(fmt.Sprintf(`{"name":"v%d","owner":%q,"count":3}`, i, owner))
		h.change(list[1].Code, "redeem", `{"by":"Ann","key":"k"}`).ok(200, nil)
	}
	names := func(query string, header ...string) string {
		t.Helper()
		var names []string
		cursor := ""
		for pages := 0; ; pages++ {
			var page api.VoucherPage
			r := h.ask("GET", "/api/v1/vouchers?"+query+"&cursor="+cursor, "", header...).ok(200, &page)
			if page.Vouchers == nil || pages > 30 {
				t.Fatalf("page %d: %s", pages, r.Body)
			}
			for _, v := range page.Vouchers {
				names = append(names, v.Name+string(v.Status[0]))
			}
			if cursor = page.Cursor; cursor == "" {
				return strings.Join(names, " ")
			}
		}
	}
	bobs := "v5i v5r v5i v3i v3r v3i v1i v1r v1i"
	equal(t, "bob's", names("owner=bob"), bobs)
	for _, limit := range []string{"1", "2", "3", "4", "9", "500"} {
		equal(t, "in pages of "+limit, names("owner=bob&limit="+limit), bobs)
	}
	equal(t, "redeemed", names("status=redeemed&limit=3"), "v6r v5r v4r v3r v2r v1r v0r")
	equal(t, "both", names("status=redeemed&owner=bob"), "v5r v3r v1r")
	equal(t, "nobody's", names("owner=carol"), "")

	// A client sees its own, whatever it asks for, and nothing else.
	bob := h.client("bob")
	for _, query := range []string{"", "owner=bob", "owner=alice", "owner=&limit=2"} {
		equal(t, "bob asks for "+query, names(query, bob...), bobs)
	}
	equal(t, "alice asks for bob's", names("owner=bob&status=redeemed", h.client("alice")...), "v6r v4r v2r v0r")
	var page api.VoucherPage
	h.ask("GET", "/api/v1/vouchers?owner=bob", "").ok(200, &page)
	code := page.Vouchers[0].Code
	equal(t, "by batch", names("batch="+page.Vouchers[0].Batch), "v5i v5r v5i")
	for _, r := range []*reply{
		h.ask("GET", "/api/v1/vouchers/"+code, "", bob...), h.change(code, "redeem", `{"by":"bob","key":"k"}`, bob...), h.change(code, "reverse", `{"by":"bob","reason":"x","key":"k"}`, bob...),
		h.change(code, "void", `{"by":"bob","reason":"x","key":"k"}`, bob...), h.ask("POST", "/api/v1/vouchers", `{"name":"x","owner":"bob"}`, bob...),
		h.ask("GET", "/api/v1/sessions", "", bob...), h.ask("POST", "/api/v1/events", `{"topic":"room:a","body":1}`, bob...), h.ask("GET", "/api/v1/keys", "", bob...),
		h.ask("GET", "/api/v1/staff", "", bob...), h.ask("POST", "/api/v1/staff", `{"name":"x","pin":"123456"}`, bob...), h.ask("GET", "/api/v1/backup", "", bob...),
	} {
		r.problem(403, chat.CodeForbidden)
	}
	// Who proves nothing, sees nothing: so in open mode.
	p := h.ask("GET", "/api/v1/vouchers?owner=bob", "", "Authorization", "").problem(401, chat.CodeUnauthorized)
	if !strings.Contains(p.Detail, "open mode") {
		t.Errorf("it does not say what to do: %s", p.Detail)
	}
	h.clock.forward(25 * time.Hour)
	h.ask("GET", "/api/v1/vouchers", "", bob...).problem(401, chat.CodeTokenExpired)
	h.ask("GET", "/api/v1/vouchers", "", "Authorization", bob[1]+"x").problem(401, chat.CodeBadToken)
	for _, query := range []string{"limit=0", "limit=501", "status=lost", "cursor=%21", "cursor=-1", "cursor=zzzzzzzzzzzzzzzzzzz", "owner=%20"} {
		if r := h.ask("GET", "/api/v1/vouchers?"+query, ""); r.Code != 400 {
			t.Errorf("%s: %d %s", query, r.Code, r.Body)
		}
	}
}

// Unknown codes are limited, for the address and for the caller; a right one
// always passes; the log has it without the code.
func TestVoucherGuessing(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	addr := "10.0.0.1"
	h.opts.Addr = func(r *httpRequest) string { return addr }
	h.restart()
	good := h.issue(`{"name":"x","owner":"alice"}`)[0].Code
	wrong := "A" // in place of the last letter
	if strings.HasSuffix(good, wrong) {
		wrong = "C"
	}
	guess := func(i int, header ...string) *reply {
		switch i % 3 {
		case 0:
			return h.ask("GET", "/api/v1/vouchers/"+chat.NewVoucherCode(), "", header...)
		case 1:
			return h.change(chat.NewVoucherCode(), "redeem", `{"by":"eve","key":"k"}`, header...)
		}
		return h.ask("GET", "/api/v1/vouchers/"+good[:27]+wrong, "", header...)
	}
	for i := range 20 {
		if i%3 == 2 {
			continue
		}
		guess(i).problem(404, chat.CodeVoucherUnknown)
	}
	for i := range 6 {
		guess(0).ok(404, nil)
		_ = i
	}
	p := guess(1).problem(429, chat.CodeRateLimited)
	if p.RetryMS <= 0 || p.RetryMS > 3000 {
		t.Errorf("retry_ms %d", p.RetryMS)
	}
	guess(2).problem(429, chat.CodeRateLimited)
	h.change(good, "redeem", `{"by":"ann","key":"k"}`).ok(200, nil)
	h.ask("GET", "/api/v1/vouchers/"+good, "").ok(200, nil)
	// The same caller from elsewhere, and another one from the same address.
	addr = "10.0.0.2"
	guess(0).problem(429, chat.CodeRateLimited)
	addr = "10.0.0.1"
	guess(0, operator()...).problem(429, chat.CodeRateLimited)
	addr = "10.0.0.3"
	guess(0, operator()...).problem(404, chat.CodeVoucherUnknown)
	h.clock.forward(time.Minute)
	addr = "10.0.0.1"
	guess(0).problem(404, chat.CodeVoucherUnknown)
	log := h.log.String()
	if !strings.Contains(log, "too many unknown voucher codes") || !strings.Contains(log, "10.0.0.1") {
		t.Errorf("not logged: %s", log)
	}
	if strings.Contains(log, good[:20]) {
		t.Errorf("the log tells a code: %s", log)
	}
}

// Pages of other sites may make a client's and staff's calls, and no others.
func TestVouchersFromOtherSites(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	origin := []string{"Origin", "https://shop.example", "Authorization", ""}
	code := h.issue(`{"name":"x","owner":"alice"}`)[0].Code
	for _, c := range []struct {
		method, path string
		may          bool
	}{
		{"POST", "/api/v1/staff/sign-in", true}, {"GET", "/api/v1/vouchers", true}, {"GET", "/api/v1/vouchers/" + code, true},
		{"POST", "/api/v1/vouchers/" + code + "/redeem", true}, {"POST", "/api/v1/vouchers/" + code + "/reverse", true},
		{"POST", "/api/v1/vouchers", false}, {"POST", "/api/v1/vouchers/" + code + "/void", false}, {"POST", "/api/v1/staff", false}, {"GET", "/api/v1/staff", false},
		{"PATCH", "/api/v1/staff/ann", false}, {"DELETE", "/api/v1/staff/ann", false}, {"GET", "/api/v1/keys", false}, {"POST", "/api/v1/events", false}, {"GET", "/api/v1/nothing", false},
	} {
		r := h.ask("OPTIONS", c.path, "", append(origin, "Access-Control-Request-Method", c.method, "Access-Control-Request-Headers", "authorization,content-type")...)
		may := r.Code == 204 && r.Header().Get("Access-Control-Allow-Origin") == "*" && r.Header().Get("Access-Control-Allow-Methods") == c.method &&
			strings.Contains(r.Header().Get("Access-Control-Allow-Headers"), "Authorization")
		equal(t, c.method+" "+c.path+" asked before", may, c.may)
		if r.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s lets passwords come along", c.path)
		}
		// The refusal itself can be read as well.
		r = h.ask(c.method, c.path, "{}", origin...)
		equal(t, c.method+" "+c.path+" readable", r.Header().Get("Access-Control-Allow-Origin") == "*", c.may)
	}
	h.ask("OPTIONS", "/api/v1/vouchers", "").problem(405, chat.CodeBadRequest)
}

func TestVoucherProblemIsJSON(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	code := h.issue(`{"name":"x","owner":"alice"}`)[0].Code
	h.change(code, "redeem", `{"by":"Ann","key":"1"}`).ok(200, nil)
	r := h.change(code, "redeem", `{"by":"Ann","key":"2"}`)
	var members map[string]json.RawMessage
	r.ok(409, &members)
	for name, want := range map[string]string{"code": `"voucher_redeemed"`, "redeemed_by": `"Ann"`, "redeemed_at": fmt.Sprint(begin.UnixMilli()), "status": "409"} {
		equal(t, name, string(members[name]), want)
	}
}
