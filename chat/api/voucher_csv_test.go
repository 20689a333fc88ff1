package api_test

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"time"

	"teahouse/chat"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

// importCSV sends a file; what is taken in is issued at once.
func (h *house) importCSV(file string, header ...string) *reply {
	h.t.Helper()
	r := h.ask("POST", "/api/v1/vouchers/import", file, header...)
	for {
		n, err := h.store.vouchers.store.IssueImported(h.t.Context())
		must(h.t, err)
		if n == 0 {
			return r
		}
	}
}

// rows are all vouchers, the oldest first, as NAME|OWNER|REF|EXPIRES|NOTE.
func (h *house) rows() (rows []string) {
	h.t.Helper()
	list, err := h.store.Vouchers(h.t.Context(), chat.VoucherQuery{Limit: 1 << 20})
	must(h.t, err)
	for i := len(list) - 1; i >= 0; i-- {
		v := list[i]
		expires := ""
		if v.ExpiresAt > 0 {
			expires = time.UnixMilli(v.ExpiresAt).UTC().Format(time.DateTime)
		}
		rows = append(rows, strings.Join([]string{v.Name, v.Owner, v.Ref, expires, v.Note}, "|"))
	}
	return rows
}

func gb18030(t *testing.T, s string) string {
	t.Helper()
	out, err := simplifiedchinese.GB18030.NewEncoder().String(s)
	must(t, err)
	return out
}

func TestImportFiles(t *testing.T) {
	t.Parallel()
	const tea = "奶茶两杯|alice|81|2026-12-31 23:59:00|少糖"
	for name, file := range map[string]string{
		"plain":            "name,owner,ref,expires_at,note\n奶茶两杯,alice,81,2026-12-31 23:59,少糖\n",
		"another order":    "note,ref,owner,expires_at,name\r\n少糖,81,alice,2026-12-31T23:59:00Z,奶茶两杯\r\n",
		"BOM and Chinese":  "\ufeff备注,编号,持券人,过期时间,券名\r\n少糖,81,alice,2026/12/31 23:59,奶茶两杯",
		"GB18030":          gb18030(t, "名称,持券人,编号,到期时间,备注\r\n奶茶两杯,alice,81,2026年12月31日 23:59,少糖\r\n"),
		"semicolons":       "name;owner;ref;expires_at;note\n奶茶两杯;alice;81;1798761540000;少糖\n",
		"tabs and quotes":  "Name\t Owner \tREF\tExpires At\tNote\n\"奶茶两杯\"\talice\t 81\t2027-01-01T07:59:00+08:00\t少糖 \n\n\t\t\t\t\n",
		"rows of nothing":  "name,owner,ref,expires_at,note\n\n,,,,\n奶茶两杯,alice,81,2026-12-31 23:59:00,少糖,,\n,,\n",
		"columns with gap": "name,owner,,ref,expires_at,note\n奶茶两杯,alice,,81,2026-12-31 23:59,少糖\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := newShop(t)
			var s chat.ImportState
			h.importCSV(file).ok(202, &s)
			equal(t, "rows", strings.Join(h.rows(), "\n"), tea)
			h.ask("GET", "/api/v1/vouchers/imports/"+s.Batch, "").ok(200, &s)
			equal(t, "the state", s, chat.ImportState{Batch: s.Batch, Count: 1, Issued: 1, At: begin.UnixMilli()})
		})
	}
	h := newShop(t)
	h.importCSV("name,owner\ntea,alice\n\"two\nlines\"\"<b>\",bob\n").problem(400, chat.CodeBadRequest)
	h.importCSV("note,name,owner,expires_at\n\"two\r\nlines\"\"<b>\",tea,bob,2026-12-31\n,cake,ann\n").ok(202, nil)
	equal(t, "rows", strings.Join(h.rows(), "\n"), "tea|bob||2027-01-01 00:00:00|two\nlines\"<b>\ncake|ann|||")
	h.ask("GET", "/api/v1/vouchers/imports/x", "").problem(404, chat.CodeNotFound)
}

// What is wrong is named by line and reason, and then nothing is imported.
func TestImportRefusals(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String("name,owner\ntea,alice\n")
	must(t, err)
	for file, want := range map[string]string{
		"":                                        "no first line",
		"name,owner\n":                            "no vouchers under its first line",
		"name,ref\ntea,81\n":                      "names no column owner (持券人)",
		"tea,alice\n":                             `a column "tea"`,
		"name,owner,price\ntea,alice,3":           `a column "price", which is not known`,
		"name,owner,券名\ntea,alice,x\n":            "names the column name twice",
		utf16:                                     "UTF-16",
		"PK\x03\x04 and so on":                    "a workbook",
		"name,owner\ntea,\x00\n":                  "no text file",
		"name,owner\ntea,\xff\xfe\xff":            "neither UTF-8 nor GB18030",
		"name,owner\ntea,alice,3\n":               "line 2: field 3",
		"name,owner\ntea\n":                       "line 2: owner: the user id is empty",
		"name,owner\n,alice\n":                    "line 2: name is missing",
		"name,owner\ntea,\"alice\n":               "line 2: a field begins with a quotation mark",
		"name,owner\nt\"ea,alice\n":               "line 2: a quotation mark stands in the middle",
		"name,owner,expires_at\ntea,alice,soon\n": `line 2: expires_at is "soon"`,
		"name,owner,expires_at\ntea,alice,2020-01-01\n":                 "line 2: expires_at, 20",
		"name,owner,expires_at\ntea,alice,1798761540\n":                 "not in seconds",
		"name,owner,expires_at\ntea,alice,-1\n":                         "leave it empty",
		"name,owner,expires_at\ntea,alice,2026-02-31 10:00\n":           "which is no time",
		"name,owner\n" + strings.Repeat("茶", 101) + ",alice\n":          "name has 101 characters",
		"name,owner\ntea\u202e,alice\n":                                 "U+202E",
		"name,owner,note\ntea,alice," + strings.Repeat("x", 10_000):     "note has 10000 characters",
		"name,owner\ntea," + strings.Repeat("x", 65) + "\n":             "owner: the user id is 65 bytes long",
		"name,owner\n" + strings.Repeat("tea,alice\n", 100_001):         "more than 100000 vouchers, from line 100002",
		"name,owner,note\ntea,alice,\"a\nb\nc\"\ncake,,\n":              "line 5: owner",
		"name,owner\n" + gb18030(t, "奶茶,alice\n奶茶,\n"):                  "line 3: owner",
		"name,owner,note\r\ntea,alice,ok\r\ntea,alice,\"a\rb\"\r\n,,\n": "line 3: note holds the character U+000D",
	} {
		p := h.importCSV(file).problem(400, chat.CodeBadRequest)
		if !strings.Contains(p.Detail, want) {
			t.Errorf("%.60q: %s; want %q", file, p.Detail, want)
		}
	}
	var b strings.Builder
	b.WriteString("name,owner,ref\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "tea,%s,%d\n", []string{"alice", "", ""}[i%3], i)
	}
	p := h.importCSV(b.String()).problem(400, chat.CodeBadRequest)
	if len(p.Errors) != 100 || p.Errors[0].Location != "line 3" || p.Errors[99].Location != "line 151" || !strings.Contains(p.Detail, "666 rows are wrong") || !strings.Contains(p.Errors[99].Message, "owner") {
		t.Errorf("%d rows are named: %+v", len(p.Errors), p)
	}
	if got := h.rows(); len(got) != 0 {
		t.Errorf("imported: %q", got)
	}
	h.importCSV("name,owner\ntea,alice\n", h.client("alice")...).problem(403, chat.CodeForbidden)
	h.importCSV("name,owner\ntea,alice\n", "Authorization", "").problem(401, chat.CodeUnauthorized)
	h.ask("GET", "/api/v1/vouchers/export", "", h.client("alice")...).problem(403, chat.CodeForbidden)
	h.ask("GET", "/api/v1/vouchers/imports/x", "", h.client("alice")...).problem(403, chat.CodeForbidden)
	ann, _ := h.hire("Ann", "", "123456")
	h.ask("GET", "/api/v1/vouchers/export", "", ann...).problem(403, chat.CodeForbidden)
}

// The same file with the same key again issues nothing more, whatever became
// of the first answer.
func TestImportIsIdempotent(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	const file = "name,owner,expires_at\ntea,alice,2026-03-05\ncake,bob,\n"
	var first, again chat.ImportState
	h.importCSV(file, "Idempotency-Key", "monday").ok(202, &first)
	h.clock.forward(100 * time.Hour) // the first row's time is over
	h.importCSV(file, "Idempotency-Key", "monday").ok(202, &again)
	first.Issued = 2
	equal(t, "the same import", again, first)
	h.importCSV("name,owner\ntea,alice\n", "Idempotency-Key", "monday").problem(409, chat.CodeKeyReused)
	equal(t, "vouchers", len(h.rows()), 2)
	h.importCSV(file).problem(400, chat.CodeBadRequest)
	h.importCSV("name,owner\ntea,alice\n", "Idempotency-Key", "tuesday").ok(202, &again)
	h.importCSV("name,owner\ntea,alice\n").ok(202, nil)
	equal(t, "vouchers", len(h.rows()), 4)
	if again.Batch == first.Batch {
		t.Errorf("two imports have the batch %s", again.Batch)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	texts := []string{"=1+1", "+1", "-1", "@SUM(A1)", "＝1", "a,\"b\"\nc", "<b>茶🍵</b>", "'x", "plain"}
	for i, s := range texts {
		h.issue(fmt.Sprintf(`{"name":"tea","owner":"alice","ref":"%d","note":%q}`, i, s))
	}
	first := h.issue(`{"name":"more","owner":"bob","count":700,"expires_at":1798761540000}`)
	h.change(first[0].Code, "redeem", `{"by":"@Ann","station":"=Gate","key":"k"}`).ok(200, nil)
	read := func(query string) [][]string {
		t.Helper()
		r := h.ask("GET", "/api/v1/vouchers/export"+query, "").ok(200, nil)
		body := r.Body.String()
		if !strings.HasPrefix(body, "\ufeffcode,name,owner,status,ref,expires_at,note,batch,issued_at,redeemed_at,redeemed_by,station\r\n") || !strings.HasSuffix(body, "\r\n") {
			t.Errorf("%.200q", body)
		}
		if got := r.Header().Get("Content-Type"); got != "text/csv; charset=utf-8" || !strings.Contains(r.Header().Get("Content-Disposition"), `vouchers-20260304-050607.csv`) {
			t.Errorf("%v", r.Header())
		}
		rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(body, "\ufeff"))).ReadAll()
		must(t, err)
		return rows[1:]
	}
	equal(t, "all", len(read("")), 709)
	equal(t, "redeemed", len(read("?status=redeemed")), 1)
	rows := read("?owner=alice")
	equal(t, "alice's", len(rows), len(texts))
	for i, row := range rows {
		s := texts[len(texts)-1-i]
		if strings.ContainsAny(s[:1], "=+-@") || strings.HasPrefix(s, "＝") {
			s = "'" + s
		}
		equal(t, "the note", row[6], s)
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
	row := read("?status=redeemed&owner=bob&batch=" + first[0].Batch)[0]
	equal(t, "a row", strings.Join(row, "|"), strings.Join([]string{first[0].Code, "more", "bob", "redeemed", "", "2026-12-31 23:59:00", "", first[0].Batch,
		"2026-03-04 05:06:07", "2026-03-04 05:06:07", "'@Ann", "'=Gate"}, "|"))
	h.ask("GET", "/api/v1/vouchers/export?status=lost", "").problem(400, chat.CodeBadRequest)
	h.ask("GET", "/api/v1/vouchers/export", "", "Authorization", "").problem(401, chat.CodeUnauthorized)
}
