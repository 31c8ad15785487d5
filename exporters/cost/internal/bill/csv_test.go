package bill

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// splitAll returns the records of a text, with its quotes removed, and the lines that are none.
func splitAll(t testing.TB, in io.Reader) (all [][]string, bad []string) {
	t.Helper()
	r := newRecords(in, ',')
	var u unquoter
	for {
		err := r.read()
		if errors.Is(err, io.EOF) {
			return all, bad
		}
		require.NoError(t, err)
		if r.bad != "" {
			bad = append(bad, fmt.Sprintf("%d: %s", r.line, r.bad))
			continue
		}
		var record []string
		for _, f := range r.fields {
			record = append(record, string(u.text(f)))
		}
		all = append(all, record)
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want [][]string
		bad  []string
	}{
		"fields, quoted or not":                 {"a,\"b\",\n", [][]string{{"a", "b", ""}}, nil},
		"no line feed at the end":               {"a,b\nc,d", [][]string{{"a", "b"}, {"c", "d"}}, nil},
		"lines of Windows":                      {"a,\"b\"\r\nc,d\r\n", [][]string{{"a", "b"}, {"c", "d"}}, nil},
		"blank lines are no records":            {"a\n\n\r\nb\n", [][]string{{"a"}, {"b"}}, nil},
		"a delimiter, a quote and a line break": {"\"x,\"\"y\"\"\nz\",1\n", [][]string{{"x,\"y\"\nz", "1"}}, nil},
		"a quote within a value without quotes": {"5\" disk,b\n", [][]string{{"5\" disk", "b"}}, nil},
		"an open quote costs its line":          {"a,\"b\nc,d\ne,f\n", [][]string{{"c", "d"}, {"e", "f"}}, []string{"1: a quote that is closed"}},
		"an open quote that another one ends":   {"a,\"b\nc,\"d\"\ne,f\n", [][]string{{"c", "d"}, {"e", "f"}}, []string{"1: " + badQuote}},
		"text after a closing quote":            {"\"a\"b,c\nd\n", [][]string{{"d"}}, []string{"1: " + badQuote}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, in := range []io.Reader{strings.NewReader(tc.text), iotest.OneByteReader(strings.NewReader(tc.text))} {
				all, bad := splitAll(t, in)
				require.Equal(t, tc.want, all)
				require.Equal(t, tc.bad, bad)
			}
		})
	}
}

func TestTooLongRecordLosesOnlyItsLine(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"without a quote":    "a\n" + strings.Repeat("x", 3*maxLine) + "\nb\n",
		"with an open quote": "a\n\"" + strings.Repeat("x", 3*maxLine) + "\nb\n",
	} {
		all, bad := splitAll(t, strings.NewReader(text))
		require.Equal(t, [][]string{{"a"}, {"b"}}, all, name)
		require.Equal(t, []string{"2: " + badLong}, bad, name)
	}
	long := "\"" + strings.Repeat("x\n", maxLine/4) + "\",y\n"
	all, bad := splitAll(t, strings.NewReader(long+long))
	require.Empty(t, bad)
	require.Len(t, all, 2, "a record of many lines")
}

// FuzzRecords holds the records equal to those of encoding/csv: all of them where it has no complaint, else those before
// the line that it complains about. It reads bare quotes as text, as this package does.
func FuzzRecords(f *testing.F) {
	for _, text := range []string{
		"a,b\n1,2\n", "\"a\"\"\",\"b\n\"\r\n", "\r\n\r\r\n", "\"", "a,\"b\nc,\"d\"\n", ",,\n,", "\"a\",\"b\"x\n", "a\"b,c", "\"\r\"\n", "é,\x00\n",
	} {
		f.Add(text, uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, chunk uint8) {
		got, _ := splitAll(t, &chunks{strings.NewReader(text), int(chunk)%7 + 1})
		reference := csv.NewReader(strings.NewReader(text))
		reference.FieldsPerRecord = -1
		for n := 0; ; n++ {
			want, err := reference.Read()
			var parse *csv.ParseError
			switch {
			case errors.Is(err, io.EOF):
				require.Len(t, got, n)
				return
			case errors.As(err, &parse):
				require.GreaterOrEqual(t, len(got), n)
				return
			}
			require.NoError(t, err)
			require.Greater(t, len(got), n)
			for i := range got[n] {
				// encoding/csv makes line breaks within a value those of Unix.
				got[n][i] = strings.ReplaceAll(got[n][i], "\r\n", "\n")
			}
			require.Equal(t, want, got[n])
		}
	})
}

// chunks reads a few bytes at a time.
type chunks struct {
	io.Reader
	n int
}

func (c *chunks) Read(p []byte) (int, error) { return c.Reader.Read(p[:min(len(p), c.n)]) }

// BenchmarkSplit is the reason for a splitter of our own: encoding/csv alone, before anything is done with a field, takes
// longer than DuckDB's whole query. With -benchtime 30x on 2026-11-29, on a busy Xeon: 405 MB/s here, 184 MB/s there; the
// bare query of BenchmarkRead reads 340 MB/s.
func BenchmarkSplit(b *testing.B) {
	line := `12.3456,USD,2026-03-01T00:00:00Z,Usage,Service 7,arn:aws:ec2:ca-central-1:7:instance/i-0123456789abcdef,` +
		`"{""team"": ""team-7"", ""env"": ""prod""}",Virtual Machines,AWS,"US$12.3456 per hour, on demand"` + "\n"
	text := bytes.Repeat([]byte(line), 10_000)
	b.Run("records", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for range b.N {
			r := newRecords(bytes.NewReader(text), ',')
			for r.read() == nil {
			}
		}
	})
	b.Run("encoding-csv", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for range b.N {
			r := csv.NewReader(bytes.NewReader(text))
			r.ReuseRecord = true
			for {
				if _, err := r.Read(); err != nil {
					break
				}
			}
		}
	})
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0", "-0.000000000001": "-0.000000000001", "999999999999999999": "999999999999999999", "0.00000080000": "0.0000008",
		"12345678901234567890.123456789012": "12345678901234567890.123456789012", "0.0000000000005": "0.000000000001",
		"-0.0000000000005": "-0.000000000001", "0.00000000000049": "0", "1.25E-7": "0.000000125", "-1e3": "-1000", "+3.5": "3.5", ".5": "0.5", "5.": "5",
		" 7 ": "7", "1e-50": "0", "99999999999999999999999999": "99999999999999999999999999",
	} {
		a, ok := parseAmount([]byte(text))
		require.True(t, ok, text)
		require.Equal(t, want, a.decimal().String(), text)
	}
	for _, text := range []string{
		"", " ", "-", ".", "1,5", "1 000", "NaN", "Infinity", "0x10", "1e", "1e999999999", "1_000", "--1", "100000000000000000000000000",
		strings.Repeat("1", 200), "1.2.3",
	} {
		_, ok := parseAmount([]byte(text))
		require.False(t, ok, "%q", text)
	}
}

// FuzzAmount holds amounts and their sums equal to those of big fractions.
func FuzzAmount(f *testing.F) {
	f.Add("1.5", "-2.25")
	f.Add("123456789012345678.123456789012", "-0.000000000001")
	f.Add("1e10", "9.99e-12")
	f.Fuzz(func(t *testing.T, one, two string) {
		sum, exact := amount{}, new(big.Rat)
		for _, text := range []string{one, two} {
			a, ok := parseAmount([]byte(text))
			if !ok {
				return
			}
			sum.add(a)
			want, ok := new(big.Rat).SetString(strings.TrimSpace(text))
			require.True(t, ok, "%q", text)
			// Rounded to twelve digits, half away from zero.
			rounded, _ := new(big.Rat).SetString(want.FloatString(scale))
			exact.Add(exact, rounded)
		}
		require.Zero(t, exact.Cmp(sum.decimal().Rat()), "%q + %q = %s", one, two, sum.decimal())
	})
}
