package bill_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
)

func TestAmbiguousAndInvalidTimesAreReported(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		column, value, want string
	}{
		"a year of two digits":                              {"ChargePeriodStart", "11/1/26", `ChargePeriodStart: is "11/1/26", expected a time such as 2026-01-31T00:00:00Z`},
		"a day that does not exist":                         {"ChargePeriodStart", "2026-11-31", `ChargePeriodStart: is "2026-11-31", expected a time such as`},
		"a year that means a missing value":                 {"ChargePeriodStart", "0001-01-01", `ChargePeriodStart: is "0001-01-01", expected a time such as`},
		"an end before the start":                           {"ChargePeriodEnd", "2026-03-10T11:00:00Z", `ChargePeriodEnd: is "2026-03-10T11:00:00Z", expected a time that is not before ChargePeriodStart 2026-03-10T12:00:00Z`},
		"a charge a year too late":                          {"BillingPeriodStart", "2025-03-01T00:00:00Z", `ChargePeriodStart: is "2026-03-10T12:00:00Z", expected a time from 400 days before to 62 days after the billing period of 2025-03`},
		"a day and a month, of an order that nothing tells": {"ChargePeriodStart", "11/10/2026 00:00", `ChargePeriodStart: is "11/10/2026 00:00", expected a date of which its billing period tells which number is the month`},
		"an hour after noon and after midnight":             {"ChargePeriodStart", "2026-03-10 13:00 PM", `ChargePeriodStart: is "2026-03-10 13:00 PM", expected a time such as`},
		"a charge two years too early":                      {"BillingPeriodStart", "2028-03-01T00:00:00Z", `expected a time from 400 days before to 62 days after the billing period of 2028-03`},
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

// Parquet files, in which times can have their own type, are rejected for the same reasons as CSV files.
func TestParquetOfImpossibleTimes(t *testing.T) {
	t.Parallel()
	path := write(t, "bill.csv", line(nil), line(map[string]string{"ChargePeriodStart": "0001-01-01"}), line(map[string]string{"ChargePeriodEnd": "2026-03-10"}))
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for _, typ := range []string{"VARCHAR", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_MS"} {
		parquet := filepath.Join(t.TempDir(), typ+".parquet")
		_, err = db.Exec(fmt.Sprintf("SET TimeZone = 'UTC'; COPY (SELECT * REPLACE (CAST(replace(ChargePeriodStart, 'Z', '') AS %[1]s) AS ChargePeriodStart, CAST(replace(ChargePeriodEnd, 'Z', '') AS %[1]s) AS ChargePeriodEnd) FROM read_csv('%[2]s', all_varchar = true)) TO '%[3]s'", typ, path, parquet))
		require.NoError(t, err, typ)
		s := read(t, newReader(t, nil), parquet)
		require.EqualValues(t, 2, s.Rejected, typ)
		require.ErrorContains(t, s.Problems[0], `line 2: ChargePeriodStart: is "0001-01-01`, typ)
		require.ErrorContains(t, s.Problems[1], `line 3: ChargePeriodEnd: is "2026-03-10T00:00:00Z", expected a time that is not before`, typ)
		require.Len(t, s.Lines, 1, typ)
	}
}

func TestTimeFormatsOfProviders(t *testing.T) {
	t.Parallel()
	for _, start := range []string{
		"2026-03-10T12:00:00Z", "2026-03-10T12:00:00.0000000Z", "2026-03-10T12:00:00.1234567Z", "2026-03-10 12:00:00", "2026-03-10T12:00", "2026-03-10 12:00:00.123456 UTC",
		"2026-03-10 12:00:00 UTC", "03/10/2026 12:00", "03/10/2026 00:00", "3/10/2026 12:00:00", "3/10/2026 12:00:00 PM", "03/10/2026 12:00 am", "10/03/2026 12:00",
		"2026/03/10 12:00:00", "2026-03-10T08:00:00-04:00", "2026-03-10T12:00:00+00", "2026-03-10",
	} {
		s := read(t, newReader(t, nil), write(t, "bill.csv", line(map[string]string{"ChargePeriodStart": start})))
		require.Empty(t, s.Problems, start)
		require.Equal(t, day("2026-03-10"), s.Lines[0].RateDay, start)
	}
}

// Azure writes 11/10/2026 00:00, and spreadsheets elsewhere 10/11/2026 00:00. The billing period, which begins on the first of a
// month, tells which of them a file has.
func TestBillingPeriodDecidesDayOrMonthFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ period, start, end, want string }{
		"as Azure writes it":                           {"11/01/2026 00:00", "11/10/2026 00:00", "11/11/2026 00:00", "2026-11-10"},
		"as Azure writes it, beside a period as FOCUS": {"2026-11-01T00:00:00Z", "11/10/2026 00:00", "11/11/2026 00:00", "2026-11-10"},
		"day first":                                     {"01/11/2026 00:00", "10/11/2026 00:00", "11/11/2026 00:00", "2026-11-10"},
		"day first, in December":                        {"01/12/2026 00:00", "03/12/2026 00:00", "04/12/2026 00:00", "2026-12-03"},
		"day first, beside a period as FOCUS":           {"2026-11-01", "10/11/2026 00:00", "2026-11-11", "2026-11-10"},
		"in January by the charge, month first":         {"01/01/2026 00:00", "01/10/2026 00:00", "01/11/2026 00:00", "2026-01-10"},
		"in January by the charge, day first":           {"01/01/2026 00:00", "10/01/2026 00:00", "11/01/2026 00:00", "2026-01-10"},
		"on the first of January both are the same":     {"01/01/2026 00:00", "01/01/2026 00:00", "01/01/2026 01:00", "2026-01-01"},
		"one of which only one reading is a day":        {"2026-11-01", "10/31/2026 00:00", "11/01/2026 00:00", "2026-10-31"},
		"a correction of October in November's invoice": {"11/01/2026 00:00", "10/05/2026 00:00", "10/06/2026 00:00", "2026-10-05"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := read(t, newReader(t, nil), write(t, "bill.csv", line(map[string]string{
				"BillingPeriodStart": tc.period, "ChargePeriodStart": tc.start, "ChargePeriodEnd": tc.end,
			})))
			require.Empty(t, s.Problems)
			require.Equal(t, tc.want, s.Lines[0].RateDay.Format(time.DateOnly))
			require.Equal(t, 1, s.Lines[0].Period.Day())
		})
	}
}

func TestTagFormatsOfProviders(t *testing.T) {
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
