//go:build linux

package main

import (
	"bufio"
	"strings"
	"testing"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	var hundred []int
	for i := range 100 {
		hundred = append(hundred, 100-i)
	}
	for _, c := range []struct {
		of   []int
		p    float64
		want int
	}{
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred, 0, 1},
		{[]int{7}, 99, 7}, {[]int{3, 1, 2}, 50, 2}, {nil, 50, 0},
	} {
		if got := percentile(c.of, c.p); got != c.want {
			t.Errorf("percentile(%v, %v) = %d, want %d", c.of, c.p, got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}, {[]float64{5}, 5}, {nil, 0}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.of, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{0: "0", 0.1234: "0.123", 12.345: "12.3", 999: "999", 1000: "1,000", 1234567.8: "1,234,568"} {
		if got := number(x); got != want {
			t.Errorf("number(%v) = %s, want %s", x, got, want)
		}
	}
}

func TestReportJudgesByMedians(t *testing.T) {
	t.Parallel()
	b := make(book)
	for _, v := range []float64{100, 900, 300} {
		b.add("fan4x4", sideOurs, sample{"deliveries": v})
	}
	b.add("fan4x4", sidePlain, sample{"deliveries": 100})
	b.add("fan4x4", sidePlain, sample{"deliveries": 7, "others": 1}) // disturbed: does not count
	b.add("fan4x4", sideFloor, sample{"deliveries": 600})
	var out strings.Builder
	report(&out, b)
	line := strings.Split(out.String(), "\n")[2]
	if want := "| 300 | 100 | 600 |  | 3.00 | 0.50 |  | plain ≥ 3; floor ≥ 0.6 | yes; **no** |"; !strings.HasSuffix(line, want) {
		t.Errorf("got  %s\nwant …%s", line, want)
	}
	head := strings.Split(out.String(), "\n")[0]
	if strings.Count(head, "|") != strings.Count(line, "|") {
		t.Errorf("head and row differ in columns:\n%s\n%s", head, line)
	}
}

func TestBulkReply(t *testing.T) {
	t.Parallel()
	in := bufio.NewReader(strings.NewReader("$3\r\n1-0\r\n$3\r\n1-1\r\n-ERR no\r\n"))
	for i, ok := range []bool{true, true, false} {
		if err := bulkReply(in); (err == nil) != ok {
			t.Errorf("reply %d: %v", i, err)
		}
	}
	if got := string(respCommand("XADD", "s")); got != "*2\r\n$4\r\nXADD\r\n$1\r\ns\r\n" {
		t.Errorf("command %q", got)
	}
}
