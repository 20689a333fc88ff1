package api

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"teahouse/chat"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// csvColumns are the columns of an import, by all the names that they may
// have in the first line. Case, spaces and underscores do not matter.
var csvColumns = map[string][]string{
	"name":       {"name", "voucher", "title", "名称", "券名", "券名称", "卡券名称"},
	"owner":      {"owner", "user", "userid", "持券人", "用户", "用户名", "用户id", "所有者"},
	"ref":        {"ref", "reference", "编号", "外部编号", "订单号"},
	"expires_at": {"expiresat", "expires", "expiry", "过期时间", "到期时间", "有效期", "有效期至", "截止时间"},
	"note":       {"note", "remark", "备注", "说明"},
}

// csvErrors is how many wrong rows are named.
const csvErrors = 100

// csvText reads the bytes of a file as text: UTF-8, or GB18030 (of which GBK
// and GB2312 are parts), in which a Chinese Excel saves CSV files.
func csvText(b []byte) (string, error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return "", chat.Errorf(chat.CodeBadRequest, "the file is UTF-16; save it as \"CSV UTF-8\"")
	case bytes.HasPrefix(b, []byte("PK\x03\x04")) || bytes.HasPrefix(b, []byte{0xd0, 0xcf, 0x11, 0xe0}):
		return "", chat.Errorf(chat.CodeBadRequest, "this is a workbook and no CSV file; save it as \"CSV UTF-8\" in Excel or WPS")
	case bytes.IndexByte(b, 0) >= 0:
		return "", chat.Errorf(chat.CodeBadRequest, "this is no text file; save the table as \"CSV UTF-8\"")
	case utf8.Valid(b):
		return string(b), nil
	}
	s, err := simplifiedchinese.GB18030.NewDecoder().Bytes(b)
	if err != nil || bytes.ContainsRune(s, utf8.RuneError) {
		return "", chat.Errorf(chat.CodeBadRequest, "the file is neither UTF-8 nor GB18030; save it as \"CSV UTF-8\"")
	}
	return string(s), nil
}

// csvRows reads an import's rows. Wrong ones are named by their lines, the
// first csvErrors of them; the error says how many there are.
func (c *call) csvRows(file []byte, i *chat.VoucherImport, l chat.Limits, now time.Time) error {
	text, err := csvText(file)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(text, "\n")
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	// Excel writes what the country's settings say.
	for _, comma := range []rune{';', '\t'} {
		if !strings.ContainsRune(first, ',') && strings.ContainsRune(first, comma) {
			r.Comma = comma
		}
	}
	columns, err := csvHeader(r)
	if err != nil {
		return err
	}
	var bad []FieldError
	count := 0
	wrong := func(line int, err error) {
		if count++; count <= csvErrors {
			bad = append(bad, FieldError{Location: "line " + strconv.Itoa(line), Message: chat.AsError(err).Message})
		}
	}
	for rows := 0; ; {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if p := (*csv.ParseError)(nil); errors.As(err, &p) {
			// Where a quote went wrong nobody knows what the rest means.
			wrong(p.Line, chat.Errorf(chat.CodeBadRequest, "%s; the rest of the file was not read", csvQuote(p)))
			break
		}
		if err != nil {
			return err
		}
		if slices.IndexFunc(record, func(s string) bool { return strings.TrimSpace(s) != "" }) < 0 {
			continue // as Excel leaves them behind a table
		}
		line, _ := r.FieldPos(0)
		if rows++; rows > chat.MaxVoucherImport {
			return chat.Errorf(chat.CodeBadRequest, "the file has more than %d vouchers, from line %d on; split it", chat.MaxVoucherImport, line)
		}
		row, err := csvRow(record, columns, now.Location())
		if err == nil {
			err = row.Check(i, l, now)
		}
		if err != nil {
			wrong(line, err)
		} else if count == 0 {
			i.Rows = append(i.Rows, row)
		}
	}
	if count > 0 {
		p := c.problem(chat.Errorf(chat.CodeBadRequest, "nothing was imported: %s wrong, the first one in %s: %s", rowsAre(count), bad[0].Location, bad[0].Message))
		p.Errors = bad
		return p
	}
	if len(i.Rows) == 0 {
		return chat.Errorf(chat.CodeBadRequest, "the file has no vouchers under its first line")
	}
	return nil
}

func rowsAre(n int) string {
	if n == 1 {
		return "one row is"
	}
	return strconv.Itoa(n) + " rows are"
}

// csvQuote says what is wrong with a row's form.
func csvQuote(p *csv.ParseError) string {
	switch {
	case errors.Is(p.Err, csv.ErrBareQuote):
		return `a quotation mark stands in the middle of a field that does not begin with one; write "" for one within quotation marks`
	case errors.Is(p.Err, csv.ErrQuote):
		return "a field begins with a quotation mark and does not end as it should"
	}
	return p.Err.Error()
}

// csvHeader reads the first line: which column is where.
func csvHeader(r *csv.Reader) (columns []string, err error) {
	record, err := r.Read()
	if err != nil {
		return nil, chat.Errorf(chat.CodeBadRequest, "the file has no first line with the names of its columns: name, owner, ref, expires_at, note")
	}
	for at, title := range record {
		title = strings.TrimSpace(title)
		is := ""
		for name, known := range csvColumns {
			if slices.Contains(known, strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "", "\u3000", "").Replace(title))) {
				is = name
			}
		}
		switch {
		case is == "" && title != "":
			return nil, chat.Errorf(chat.CodeBadRequest, "the first line names a column %.40q, which is not known; there can be name, owner, ref, expires_at and note (名称, 持券人, 编号, 过期时间, 备注), in any order", title)
		case is != "" && slices.Contains(columns, is):
			return nil, chat.Errorf(chat.CodeBadRequest, "the first line names the column %s twice: column %d is %.40q", is, at+1, title)
		}
		columns = append(columns, is)
	}
	for _, must := range []string{"name", "owner"} {
		if !slices.Contains(columns, must) {
			return nil, chat.Errorf(chat.CodeBadRequest, "the first line names no column %s (%s); it begins with %.60q", must, csvColumns[must][3], strings.Join(record, ","))
		}
	}
	return columns, nil
}

// csvRow reads one row. It does not keep the record.
func csvRow(record, columns []string, zone *time.Location) (row chat.VoucherRow, err error) {
	for at, field := range record {
		if at >= len(columns) || columns[at] == "" {
			if strings.TrimSpace(field) != "" {
				return row, chat.Errorf(chat.CodeBadRequest, "field %d, %.40q, stands under no column; is there a comma too many, or a quotation mark too few?", at+1, field)
			}
			continue
		}
		field = strings.Clone(strings.TrimSpace(field))
		switch columns[at] {
		case "name":
			row.Name = field
		case "owner":
			row.Owner = field
		case "ref":
			row.Ref = field
		case "note":
			row.Note = strings.ReplaceAll(field, "\r\n", "\n")
		case "expires_at":
			if row.ExpiresAt, err = csvTime(field, zone); err != nil {
				return row, err
			}
		}
	}
	return row, nil
}

// csvTimes are the forms of a time without a zone: of the server's clocks.
var csvTimes = []string{
	"2006-1-2 15:04", "2006-1-2 15:04:05", "2006/1/2 15:04", "2006/1/2 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006年1月2日 15:04",
}

// csvTime reads a time: milliseconds since 1970, ISO 8601 with its zone, or a
// date and time as the server's clocks show it. A day is good until it ends.
// "" is never, 0.
func csvTime(s string, zone *time.Location) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n <= 0 {
			return 0, chat.Errorf(chat.CodeBadRequest, "expires_at is %s; leave it empty for what never expires", s)
		}
		return n, nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at.UnixMilli(), nil
	}
	for _, form := range csvTimes {
		if at, err := time.ParseInLocation(form, s, zone); err == nil {
			return at.UnixMilli(), nil
		}
	}
	for _, form := range []string{"2006-1-2", "2006/1/2", "2006年1月2日"} {
		if day, err := time.ParseInLocation(form, s, zone); err == nil {
			return day.AddDate(0, 0, 1).UnixMilli(), nil
		}
	}
	return 0, chat.Errorf(chat.CodeBadRequest, "expires_at is %.40q, which is no time; write 2026-12-31 23:59, 2026-12-31 (until the day ends), 2026-12-31T23:59:00+08:00, or milliseconds since 1970", s)
}

// csvExport are the columns of an export.
var csvExport = []string{"code", "name", "owner", "status", "ref", "expires_at", "note", "batch", "issued_at", "redeemed_at", "redeemed_by", "station"}

// csvRecord is a voucher's row in an export.
func csvRecord(v *chat.Voucher, zone *time.Location) []string {
	when := func(ms int64) string {
		if ms == 0 {
			return ""
		}
		return time.UnixMilli(ms).In(zone).Format(time.DateTime)
	}
	record := []string{v.Code, v.Name, v.Owner, string(v.Status), v.Ref, when(v.ExpiresAt), v.Note, v.Batch, when(v.IssuedAt), when(v.RedeemedAt), v.RedeemedBy, v.Station}
	for i, s := range record {
		record[i] = defused(s)
	}
	return record
}

// defused keeps a program for tables from taking a text for a formula (OWASP,
// CSV injection): a quotation mark before it makes it a text.
func defused(s string) string {
	if s != "" && strings.ContainsAny(s[:1], "=+-@\t\r\n") {
		return "'" + s
	}
	if r, _ := utf8.DecodeRuneInString(s); strings.ContainsRune("＝＋－＠", r) {
		return "'" + s
	}
	return s
}

// csvName is the file name of an export.
func csvName(now time.Time) string {
	return fmt.Sprintf("vouchers-%s.csv", now.Format("20060102-150405"))
}
