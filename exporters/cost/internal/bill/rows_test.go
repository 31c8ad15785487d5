package bill_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
)

func TestATimeOfWhichNobodyCanSayWhatItIsIsNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		column, value, want string
	}{
		"a year of two digits":         {"ChargePeriodStart", "11/1/26", `ChargePeriodStart: is "11/1/26", expected a time such as 2026-01-31T00:00:00Z`},
		"a day that does not exist":    {"ChargePeriodStart", "2026-11-31", `ChargePeriodStart: is "2026-11-31", expected a time such as`},
		"a year that stands for none":  {"ChargePeriodStart", "0001-01-01", `ChargePeriodStart: is "0001-01-01", expected a time such as`},
		"an end before the start":      {"ChargePeriodEnd", "2026-03-10T11:00:00Z", `ChargePeriodEnd: is "2026-03-10T11:00:00Z", expected a time that is not before ChargePeriodStart 2026-03-10T12:00:00Z`},
		"a charge a year too late":     {"BillingPeriodStart", "2025-03-01T00:00:00Z", `ChargePeriodStart: is "2026-03-10T12:00:00Z", expected a time from 400 days before to 62 days after the billing period of 2025-03`},
		"a charge two years too early": {"BillingPeriodStart", "2028-03-01T00:00:00Z", `expected a time from 400 days before to 62 days after the billing period of 2028-03`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := read(t, newReader(t, nil), write(t, "bill.csv", line(nil), line(map[string]string{tc.column: tc.value})))
			require.EqualValues(t, 1, s.Rejected)
			require.Len(t, s.Problems, 1)
			require.EqualValues(t, 3, s.Problems[0].Line)
			require.ErrorContains(t, s.Problems[0], tc.want)
			require.Len(t, s.Lines, 1)
		})
	}
}

func TestTimesThatProvidersWrite(t *testing.T) {
	t.Parallel()
	for _, start := range []string{
		"2026-03-10T12:00:00Z", "2026-03-10T12:00:00.0000000Z", "2026-03-10 12:00:00", "2026-03-10T12:00", "2026-03-10 12:00:00.123456 UTC",
		"03/10/2026 12:00", "03/10/2026 00:00", "3/10/2026 12:00:00", "2026-03-10T08:00:00-04:00", "2026-03-10T12:00:00+00", "2026-03-10",
	} {
		s := read(t, newReader(t, nil), write(t, "bill.csv", line(map[string]string{"ChargePeriodStart": start})))
		require.Empty(t, s.Problems, start)
		require.Equal(t, day("2026-03-10"), s.Lines[0].RateDay, start)
	}
}

func TestTagsInEveryFormThatIsWritten(t *testing.T) {
	t.Parallel()
	for tags, want := range map[string]string{
		`{"team": "search"}`:                       "search",
		`[{"key":"team","value":"search"}]`:        "search",
		`[{"Key":"Team","Value":"search"}]`:        "search",
		`"team": "search","env": "prod"`:           "search",
		`team=search`:                              "search",
		`env=prod;team=search;`:                    "search",
		`env=prod, team=search`:                    "search",
		`{'team': 'search'}`:                       "search",
		`{"team": "search", "n": 3, "x": {"a":1}}`: "search",
		`{"team": "se\u0061rch"}`:                  "search",
		`{"team": "SEARCH"}`:                       "search",
		`{"team": null}`:                           bill.Unallocated,
		`{}`:                                       bill.Unallocated,
	} {
		s := read(t, newReader(t, func(o *bill.Options) { o.Rules = []bill.Rule{{FromTag: "team"}} }), write(t, "bill.csv", line(map[string]string{"Tags": tags})))
		require.Equal(t, want, s.Lines[0].Department, tags)
		require.Zero(t, s.UnreadTags, tags)
	}
	for _, tags := range []string{"team: search", `{"team": "search"`, "search", "team=a,b", `[{"name":"team"}]`} {
		s := read(t, newReader(t, func(o *bill.Options) { o.Rules = []bill.Rule{{FromTag: "team"}} }), write(t, "bill.csv", line(map[string]string{"Tags": tags}), line(nil)))
		require.EqualValues(t, 1, s.UnreadTags, tags)
		require.Equal(t, bill.Unallocated, s.Lines[0].Department)
	}
}

func TestDepartmentsAreSpelledInOneWay(t *testing.T) {
	t.Parallel()
	path := write(t, "bill.csv", line(map[string]string{"Tags": `{"team": "Search"}`}), line(map[string]string{"Tags": `{"team": "SEARCH"}`}),
		line(map[string]string{"Tags": `{"team": "search"}`}))
	departments := func(change func(*bill.Options)) map[string]int64 {
		all := map[string]int64{}
		for _, l := range read(t, newReader(t, func(o *bill.Options) { o.Rules = []bill.Rule{{FromTag: "team"}}; change(o) }), path).Lines {
			all[l.Department] += l.Rows
		}
		return all
	}
	require.Equal(t, map[string]int64{"search": 3}, departments(func(*bill.Options) {}))
	require.Equal(t, map[string]int64{"Search": 3}, departments(func(o *bill.Options) { o.Departments = []string{"Search"} }), "as a budget spells it")
	require.Equal(t, map[string]int64{"search": 1, "Search": 1, "SEARCH": 1}, departments(func(o *bill.Options) { o.KeepCase = true }))
}

func TestParquetWithAListOfTags(t *testing.T) {
	t.Parallel()
	path := write(t, "bill.csv", line(map[string]string{"Tags": "x"}), line(map[string]string{"Tags": "x", "EffectiveCost": "much"}))
	parquet := filepath.Join(t.TempDir(), "bill.parquet")
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.Exec(fmt.Sprintf("COPY (SELECT * REPLACE ([{'key': 'team', 'value': 'search'}] AS Tags) FROM read_csv('%s', all_varchar = true)) TO '%s'", path, parquet))
	require.NoError(t, err)
	s := read(t, newReader(t, func(o *bill.Options) { o.Rules = []bill.Rule{{FromTag: "team"}} }), parquet)
	require.Len(t, s.Lines, 1)
	require.Equal(t, "search", s.Lines[0].Department)
	require.EqualValues(t, 1, s.Rejected)
	require.ErrorContains(t, s.Problems[0], `line 2: EffectiveCost: is "much", expected a decimal number`)
}

func TestPurchasesAndCorrectionsAreInTheMonthOfTheirInvoice(t *testing.T) {
	t.Parallel()
	november := map[string]string{"BillingPeriodStart": "2026-11-01T00:00:00Z"}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range []map[string]string{november, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	for name, tc := range map[string]struct {
		values map[string]string
		want   string
	}{
		"a purchase at half past midnight by UTC":     {with(map[string]string{"ChargeCategory": "Purchase", "ChargePeriodStart": "2026-11-01T00:30:00Z", "ChargePeriodEnd": "2026-11-01T00:30:00Z"}), "2026-11-01"},
		"usage at that time is of the evening before": {with(map[string]string{"ChargePeriodStart": "2026-11-01T00:30:00Z", "ChargePeriodEnd": "2026-11-01T01:30:00Z"}), "2026-10-31"},
		"what is given back for October":              {with(map[string]string{"ResourceId": "Correction", "ChargePeriodStart": "2026-10-10T00:00:00Z", "ChargePeriodEnd": "2026-10-11T00:00:00Z"}), "2026-11-01"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, cost := range []bill.Cost{bill.Billed, bill.Effective} {
				path := filepath.Join(t.TempDir(), "bill.csv")
				header := strings.Replace(columns, "ResourceId", "ChargeClass", 1)
				require.NoError(t, os.WriteFile(path, []byte(header+"\n"+line(tc.values)+"\n"), 0o600))
				s := read(t, newReader(t, func(o *bill.Options) { o.Cost = cost }), path)
				require.Empty(t, s.Problems)
				require.Equal(t, tc.want, s.Lines[0].Day.Format(time.DateOnly))
			}
		})
	}
}

func TestFilesThatAreUnambiguousAreRead(t *testing.T) {
	t.Parallel()
	plain := columns + "\n" + line(map[string]string{"EffectiveCost": "1.5"}) + "\n"
	pressed := func(open func(*bytes.Buffer) func([]byte)) []byte {
		var b bytes.Buffer
		open(&b)([]byte(plain))
		return b.Bytes()
	}
	for name, content := range map[string][]byte{
		"semicolons.csv": []byte(strings.ReplaceAll(plain, ",", ";")),
		"tabs.csv":       []byte(strings.ReplaceAll(plain, ",", "\t")),
		"utf16.csv": func() []byte {
			b := []byte{0xff, 0xfe}
			for _, c := range utf16.Encode([]rune(plain)) {
				b = append(b, byte(c), byte(c>>8))
			}
			return b
		}(),
		"snake.csv": []byte(strings.NewReplacer("BillingCurrency", "billing_currency", "ChargePeriodStart", "charge_period_start", "EffectiveCost", "effective_cost").Replace(plain)),
		"bill.csv.gz": pressed(func(b *bytes.Buffer) func([]byte) {
			return func(p []byte) { w := gzip.NewWriter(b); _, _ = w.Write(p); require.NoError(t, w.Close()) }
		}),
		"bill.csv.zst": pressed(func(b *bytes.Buffer) func([]byte) {
			return func(p []byte) {
				w, err := zstd.NewWriter(b)
				require.NoError(t, err)
				_, _ = w.Write(p)
				require.NoError(t, w.Close())
			}
		}),
		"bill.zip": pressed(func(b *bytes.Buffer) func([]byte) {
			return func(p []byte) {
				w := zip.NewWriter(b)
				f, err := w.Create("part_0.csv")
				require.NoError(t, err)
				_, _ = f.Write(p)
				require.NoError(t, w.Close())
			}
		}),
	} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		s := read(t, newReader(t, nil), path)
		require.Empty(t, s.Problems, name)
		require.Len(t, s.Lines, 1, name)
		require.Equal(t, "1.5", s.Lines[0].Amount.String(), name)
	}
}

func TestAFileOfAnotherFormatIsToldFromFOCUS(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"identity/LineItemId,lineItem/UnblendedCost": "it looks like AWS's Cost and Usage Report, and not like FOCUS: make a data export of the table FOCUS",
		"line_item_unblended_cost,bill_type":         "it looks like AWS's Cost and Usage Report 2.0",
		"Date,MeterCategory,CostInBillingCurrency":   "it looks like Azure's actual or amortized cost, and not like FOCUS: make an export of the type \"Cost and usage details (FOCUS)\"",
		"lineItem/referenceNo,cost/myCost":           "it looks like OCI's cost report",
		"Day,Amount":                                 `the file has "Day, Amount"`,
	} {
		path := filepath.Join(t.TempDir(), "bill.csv")
		require.NoError(t, os.WriteFile(path, []byte(header+"\n"), 0o600))
		_, err := newReader(t, nil).Read(context.Background(), path)
		require.ErrorContains(t, err, want)
	}
}

func TestACompressedFileThatIsCutOffIsNoBill(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(columns + "\n" + line(nil) + "\n"))
	require.NoError(t, err)
	require.NoError(t, w.Flush()) // Up to here it can be decompressed without an error.
	path := filepath.Join(t.TempDir(), "bill.csv.gz")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	_, err = newReader(t, nil).Read(context.Background(), path)
	require.ErrorContains(t, err, "the compressed file is cut off, expected its end")
}

// source is a folder with a ledger, whose clock stands at the end of 20 March.
type source struct {
	t      *testing.T
	dir    string
	now    time.Time
	log    bytes.Buffer
	ledger *bill.Ledger
}

func newSource(t *testing.T, change func(*bill.LedgerOptions)) *source {
	t.Helper()
	s := &source{t: t, dir: t.TempDir(), now: time.Date(2026, 3, 21, 0, 0, 0, 0, time.UTC)}
	o := ledgerOptions(bill.Auto, bill.ByFolder)
	o.Now, o.Logger = func() time.Time { return s.now }, slog.New(slog.NewTextHandler(&s.log, nil))
	if change != nil {
		change(&o)
	}
	var err error
	s.ledger, err = bill.Folder(newReader(t, nil), s.dir, o)
	require.NoError(t, err)
	return s
}

func (s *source) total() string {
	s.t.Helper()
	b, err := s.ledger.Read(context.Background())
	require.NoError(s.t, err)
	return total(b)
}

func charged(amount, start string) string {
	at, err := time.Parse(time.RFC3339, start)
	if err != nil {
		panic(err)
	}
	return line(map[string]string{"EffectiveCost": amount, "ChargePeriodStart": start, "ChargePeriodEnd": at.Add(time.Hour).Format(time.RFC3339)})
}

func TestWhatIsNewIsAddedAndTheMonthSoFarReplaced(t *testing.T) {
	t.Parallel()
	t.Run("ten daily folders", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, nil)
		for d := 1; d <= 10; d++ {
			put(t, s.dir, fmt.Sprintf("2026/03/%02d/bill.csv", d), d, charged("150", fmt.Sprintf("2026-03-%02dT00:00:00Z", d)), charged("50", fmt.Sprintf("2026-03-%02dT13:00:00Z", d)))
		}
		require.Equal(t, "2000", s.total())
	})
	t.Run("six files of an hour each", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, func(o *bill.LedgerOptions) { o.Grouping = bill.ByFile })
		for h := 1; h <= 6; h++ {
			put(t, s.dir, fmt.Sprintf("2026-03-10/usage-%d.csv", h), h, charged("1", fmt.Sprintf("2026-03-10T%02d:00:00Z", h)))
		}
		require.Equal(t, "6", s.total())
	})
	t.Run("a refund after a whole month", func(t *testing.T) {
		t.Parallel()
		for _, d := range []bill.Deliveries{bill.Auto, bill.Append} {
			s := newSource(t, func(o *bill.LedgerOptions) { o.Deliveries = d })
			put(t, s.dir, "full/bill.csv", 1, charged("1000", "2026-03-10T00:00:00Z"))
			put(t, s.dir, "delta/bill.csv", 2, charged("-40", "2026-03-10T00:00:00Z"))
			require.Equal(t, "960", s.total(), d)
		}
	})
	t.Run("the month so far, each day anew", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, nil)
		var lines []string
		for d := 1; d <= 3; d++ {
			lines = append(lines, charged("10", fmt.Sprintf("2026-03-%02dT05:00:00Z", d)))
			put(t, s.dir, fmt.Sprintf("run%d/bill.csv", d), d, lines...)
		}
		require.Equal(t, "30", s.total())
		require.NotContains(t, s.log.String(), "far less")
	})
	t.Run("a replacement with far less is warned of once", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, func(o *bill.LedgerOptions) { o.Deliveries = bill.Replace })
		put(t, s.dir, "full/bill.csv", 1, charged("600", "2026-03-10T00:00:00Z"), charged("300", "2026-03-11T00:00:00Z"), charged("100", "2026-03-12T00:00:00Z"))
		put(t, s.dir, "later/bill.csv", 2, charged("5", "2026-03-12T00:00:00Z"))
		require.Equal(t, "5", s.total())
		require.Equal(t, "5", s.total())
		require.Equal(t, 1, strings.Count(s.log.String(), "far less than the one that it replaces"))
	})
}

func TestADeliveryCountsWhenItIsThere(t *testing.T) {
	t.Parallel()
	settle := func(o *bill.LedgerOptions) { o.Settle = 10 * time.Minute }
	t.Run("the part that has arrived does not replace the whole", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, settle)
		put(t, s.dir, "bill/part1.csv", 1, cost("7"))
		require.Equal(t, "7", s.total())
		put(t, s.dir, "bill/part1.csv", 5, cost("3")) // The first of three, in the place of the one before.
		s.now = time.Date(2026, 3, 20, 5, 9, 0, 0, time.UTC)
		require.Equal(t, "7", s.total())
		put(t, s.dir, "bill/part2.csv", 5, cost("6"))
		s.now = s.now.Add(2 * time.Minute)
		require.Equal(t, "9", s.total())
	})
	t.Run("a manifest says what belongs to it, and that it is complete", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, settle)
		put(t, s.dir, "bill/a.csv", 1, cost("7"))
		require.Equal(t, "7", s.total())
		put(t, s.dir, "bill/b.csv", 5, cost("2"))
		manifest := filepath.Join(s.dir, "bill", "manifest.json")
		require.NoError(t, os.WriteFile(manifest, []byte(`{"blobs": [{"blobName": "exports/bill/b.csv"}, {"blobName": "exports/bill/c.csv"}]}`), 0o600))
		at := time.Date(2026, 3, 20, 5, 0, 0, 0, time.UTC)
		require.NoError(t, os.Chtimes(manifest, at, at))
		s.now = at.Add(time.Minute)
		require.Equal(t, "7", s.total(), "c.csv is not there yet")
		s.now = at.Add(time.Hour)
		b, err := s.ledger.Read(context.Background())
		require.ErrorContains(t, err, "delivery bill: bill/manifest.json lists 1 files that are not there, such as exports/bill/c.csv; the delivery before it counts")
		require.Equal(t, "7", total(b))
		put(t, s.dir, "bill/c.csv", 5, cost("4"))
		s.now = at.Add(time.Minute)
		require.Equal(t, "6", s.total(), "a.csv is left of the delivery before, and nothing has to settle")
	})
	t.Run("a manifest in another folder", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, settle)
		put(t, s.dir, "focus/data/BILLING_PERIOD=2026-03/part-1.csv", 5, cost("2"))
		manifest := filepath.Join(s.dir, "focus", "metadata", "BILLING_PERIOD=2026-03", "focus-Manifest.json")
		require.NoError(t, os.MkdirAll(filepath.Dir(manifest), 0o755))
		require.NoError(t, os.WriteFile(manifest, []byte(`{"dataFiles": ["s3://exports/focus/data/BILLING_PERIOD=2026-03/part-1.csv"]}`), 0o600))
		s.now = time.Date(2026, 3, 20, 5, 1, 0, 0, time.UTC)
		require.Equal(t, "2", s.total())
	})
	t.Run("a broken file in the place of a good one", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, nil)
		put(t, s.dir, "bill.csv", 1, cost("7"))
		require.Equal(t, "7", s.total())
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "bill.csv"), []byte("a,b\n"), 0o600))
		b, err := s.ledger.Read(context.Background())
		require.ErrorContains(t, err, "has no column EffectiveCost")
		require.Equal(t, "7", total(b))
	})
}

func TestWhatLiesBesideBills(t *testing.T) {
	t.Parallel()
	t.Run("the other datasets of FOCUS are passed over", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, nil)
		put(t, s.dir, "bill.csv", 1, cost("7"))
		for name, header := range map[string]string{
			"commitments.csv": "BillingCurrency,ContractCommitmentCategory,ContractCommitmentId,ContractId",
			"invoice.csv":     "BilledCost,BillingCurrency,InvoiceDetailId,InvoiceId",
		} {
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(header+"\n1,2,3,4\n"), 0o600))
		}
		require.Equal(t, "7", s.total())
		require.Contains(t, s.log.String(), "it is FOCUS's ContractCommitment")
		require.Contains(t, s.log.String(), "it is FOCUS's InvoiceDetail")
	})
	t.Run("a folder without a bill is an error", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, nil)
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "bill.xlsx"), []byte("PK"), 0o600))
		_, err := s.ledger.Read(context.Background())
		require.ErrorContains(t, err, "no bill in it: there are 0 files whose names end in one of .csv, .csv.gz, .csv.zst, .csv.zstd, .csv.zip, .zip, .parquet with no charges in them, and 1 others, such as bill.xlsx")
	})
}
