package bill_test

import (
	"compress/gzip"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // writes Parquet
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
)

func toronto(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("America/Toronto")
	require.NoError(t, err)
	return zone
}

func newReader(t *testing.T, change func(*bill.Options)) *bill.Reader {
	t.Helper()
	o := bill.Options{Cost: bill.Effective, Zone: toronto(t), Threads: 1, TempDir: t.TempDir()}
	if change != nil {
		change(&o)
	}
	r, err := bill.NewReader(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

const columns = "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ServiceName,ServiceCategory,SubAccountId,SubAccountName,ResourceId,Tags"

// line returns a line of a bill. Columns that are not in values have those of an ordinary hour of usage.
func line(values map[string]string) string {
	defaults := map[string]string{
		"BilledCost": "1", "EffectiveCost": "1", "BillingCurrency": "USD", "BillingPeriodStart": "2026-03-01T00:00:00Z",
		"ChargePeriodStart": "2026-03-10T12:00:00Z", "ChargePeriodEnd": "2026-03-10T13:00:00Z", "ChargeCategory": "Usage",
		"ServiceName": "Compute Engine", "ServiceCategory": "Compute", "SubAccountId": "42", "SubAccountName": "Shop",
	}
	var out []string
	for _, c := range strings.Split(columns, ",") {
		v, ok := values[c]
		if !ok {
			v = defaults[c]
		}
		if strings.ContainsAny(v, "\",\n") {
			v = `"` + strings.ReplaceAll(v, `"`, `""`) + `"`
		}
		out = append(out, v)
	}
	return strings.Join(out, ",")
}

func write(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(append([]string{columns}, lines...), "\n")+"\n"), 0o600))
	return path
}

func read(t *testing.T, r *bill.Reader, path string) bill.Sheet {
	t.Helper()
	s, err := r.Read(context.Background(), path)
	require.NoError(t, err)
	return s
}

func day(s string) time.Time {
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return d
}

func TestVariantsOfRealBillsAreRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		values map[string]string
		check  func(t *testing.T, l bill.Line)
	}{
		"as FOCUS has it": {nil, func(t *testing.T, l bill.Line) {
			require.Equal(t, bill.Line{
				Period: day("2026-03-01"), Day: day("2026-03-10"), RateDay: day("2026-03-10"), Currency: "USD", Department: bill.Unallocated,
				Service: "Compute Engine", Category: "Compute", Running: true, Metered: true, Amount: l.Amount, Rows: 1,
			}, l)
		}},
		"NULL as text":                    {map[string]string{"ServiceName": "NULL", "Tags": "NULL"}, func(t *testing.T, l bill.Line) { require.Equal(t, "(none)", l.Service) }},
		"nothing at all":                  {map[string]string{"ServiceCategory": ""}, func(t *testing.T, l bill.Line) { require.Equal(t, "(none)", l.Category) }},
		"a time without T and Z":          {map[string]string{"ChargePeriodStart": "2026-03-10 12:00:00"}, nil},
		"a time without seconds":          {map[string]string{"ChargePeriodStart": "2026-03-10T12:00Z", "BillingPeriodStart": "2026-03-01T00:00Z"}, nil},
		"a time with fractions":           {map[string]string{"ChargePeriodStart": "2026-03-10T12:00:00.000Z"}, nil},
		"a time with a zone":              {map[string]string{"ChargePeriodStart": "2026-03-10T08:00:00-0400"}, func(t *testing.T, l bill.Line) { require.Equal(t, day("2026-03-10"), l.RateDay) }},
		"a day":                           {map[string]string{"BillingPeriodStart": "2026-03-01"}, nil},
		"a charge category in lower case": {map[string]string{"ChargeCategory": "usage"}, func(t *testing.T, l bill.Line) { require.True(t, l.Running) }},
		"a sub-account that is -2":        {map[string]string{"SubAccountId": "-2", "SubAccountName": "Unassigned"}, nil},
		"tags that are no JSON":           {map[string]string{"Tags": "team: shop"}, nil},
		"a currency in lower case":        {map[string]string{"BillingCurrency": " usd "}, func(t *testing.T, l bill.Line) { require.Equal(t, "USD", l.Currency) }},
		"a negative cost":                 {map[string]string{"EffectiveCost": "-12.34"}, func(t *testing.T, l bill.Line) { require.Equal(t, "-12.34", l.Amount.String()) }},
		"a cost in E notation":            {map[string]string{"EffectiveCost": "1.25E-7"}, func(t *testing.T, l bill.Line) { require.Equal(t, "0.000000125", l.Amount.String()) }},
		"a cost with a plus sign":         {map[string]string{"EffectiveCost": "+3.5"}, func(t *testing.T, l bill.Line) { require.Equal(t, "3.5", l.Amount.String()) }},
		"a text of two lines":             {map[string]string{"ResourceId": "a\nb"}, nil},
		"a correction of last month": {map[string]string{"ChargePeriodStart": "2026-02-10T12:00:00Z", "ChargePeriodEnd": "2026-02-10T13:00:00Z"}, func(t *testing.T, l bill.Line) {
			require.Equal(t, day("2026-02-10"), l.Day)
			require.Equal(t, day("2026-03-01"), l.Period)
		}},
		"a day by UTC is the day that it mostly is": {map[string]string{"ChargePeriodStart": "2026-03-01T00:00:00Z", "ChargePeriodEnd": "2026-03-02T00:00:00Z"}, func(t *testing.T, l bill.Line) {
			require.Equal(t, day("2026-03-01"), l.Day)
		}},
		"an hour by UTC is of the evening before": {map[string]string{"ChargePeriodStart": "2026-03-01T00:00:00Z", "ChargePeriodEnd": "2026-03-01T01:00:00Z"}, func(t *testing.T, l bill.Line) {
			require.Equal(t, day("2026-02-28"), l.Day)
			require.Equal(t, day("2026-03-01"), l.RateDay)
		}},
		"what is bought for a year is bought on its first day": {map[string]string{"ChargeCategory": "Purchase", "ChargePeriodStart": "2026-03-01T00:00:00Z", "ChargePeriodEnd": "2027-03-01T00:00:00Z"}, func(t *testing.T, l bill.Line) {
			require.Equal(t, day("2026-03-01"), l.Day)
		}},
		"a fee for the month does not go on": {map[string]string{"ChargePeriodStart": "2026-03-01T00:00:00Z", "ChargePeriodEnd": "2026-04-01T00:00:00Z"}, func(t *testing.T, l bill.Line) { require.False(t, l.Running) }},
		"a purchase does not go on":          {map[string]string{"ChargeCategory": "Purchase"}, func(t *testing.T, l bill.Line) { require.False(t, l.Running) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := read(t, newReader(t, nil), write(t, "bill.csv", line(tc.values)))
			require.Empty(t, s.Problems)
			require.EqualValues(t, 1, s.Rows)
			require.Len(t, s.Lines, 1)
			if tc.check != nil {
				tc.check(t, s.Lines[0])
			}
		})
	}
}

func TestInvalidAmountsAreReported(t *testing.T) {
	t.Parallel()
	path := write(t, "bill.csv",
		line(nil),
		line(map[string]string{"EffectiveCost": "12,50"}),
		line(map[string]string{"EffectiveCost": "NULL"}),
		line(map[string]string{"EffectiveCost": "NaN"}),
		line(map[string]string{"BillingCurrency": "credits"}),
		line(map[string]string{"ChargePeriodStart": "last week"}),
		line(map[string]string{"ChargePeriodEnd": ""}),
		line(map[string]string{"BillingPeriodStart": "March"}),
		"1,2,3",
		line(map[string]string{"EffectiveCost": "2"}),
	)
	s := read(t, newReader(t, nil), path)
	require.EqualValues(t, 10, s.Rows)
	require.EqualValues(t, 8, s.Rejected)
	require.Len(t, s.Lines, 1)
	require.Equal(t, "3", s.Lines[0].Amount.String(), "the other lines count")
	var texts []string
	for _, p := range s.Problems {
		require.Equal(t, path, p.File)
		texts = append(texts, strings.TrimPrefix(p.Error(), path+": "))
	}
	require.ElementsMatch(t, []string{
		`line 3: EffectiveCost: is "12,50", expected a decimal number`,
		`line 4: EffectiveCost: is "", expected a decimal number`,
		`line 5: EffectiveCost: is "NaN", expected a decimal number`,
		`line 6: BillingCurrency: is "CREDITS", expected an ISO 4217 code`,
		`line 7: ChargePeriodStart: is "last week", expected a time such as 2026-01-31T00:00:00Z`,
		`line 8: ChargePeriodEnd: is "", expected a time such as 2026-01-31T00:00:00Z`,
		`line 9: BillingPeriodStart: is "March", expected a time such as 2026-01-31T00:00:00Z`,
		`line 10: the line: is "1,2,3", expected one value for each of 13 columns, not 3`,
	}, texts)
	again := read(t, newReader(t, nil), path)
	require.Equal(t, s, again)
}

func TestInvalidBillIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, tc := range map[string]struct{ content, want string }{
		"empty.csv":      {"", "is empty, expected a line with the names of the columns"},
		"other.csv":      {"a,b\n1,2\n", "has no column EffectiveCost, BillingCurrency, BillingPeriodStart, ChargePeriodStart, ChargePeriodEnd, ChargeCategory; expected those of FOCUS 1.0 or later, and the file has \"a, b\""},
		"twice.csv":      {"a,A\n1,2\n", `line 1: column 2: "A" is there twice`},
		"bill.xlsx":      {"PK", "its name ends in none of .csv, .csv.gz, .csv.zst, .csv.zstd, .csv.zip, .zip, .parquet"},
		"broken.csv.gz":  {"no gzip at all", "gzip: invalid header"},
		"broken.parquet": {"no parquet", "broken.parquet"},
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(tc.content), 0o600))
		_, err := newReader(t, nil).Read(context.Background(), path)
		require.ErrorContains(t, err, tc.want, name)
		require.ErrorContains(t, err, "read bill "+path)
	}
}

func TestOnlyTheConfiguredCostIsSummed(t *testing.T) {
	t.Parallel()
	path := write(t, "bill.csv",
		line(map[string]string{"ChargeCategory": "Purchase", "BilledCost": "8760", "EffectiveCost": "0"}),
		line(map[string]string{"BilledCost": "0", "EffectiveCost": "1.1"}),
		line(map[string]string{"BilledCost": "0", "EffectiveCost": "2.2"}),
		line(map[string]string{"ChargeCategory": "Credit", "BilledCost": "-5", "EffectiveCost": "-0.3"}),
	)
	for cost, want := range map[bill.Cost]string{bill.Effective: "3", bill.Billed: "8755"} {
		s := read(t, newReader(t, func(o *bill.Options) { o.Cost = cost }), path)
		sum := s.Lines[0].Amount.Sub(s.Lines[0].Amount)
		for _, l := range s.Lines {
			sum = sum.Add(l.Amount)
		}
		require.Equal(t, want, sum.String(), cost)
	}
}

func TestTheFirstRuleThatMatchesDecides(t *testing.T) {
	t.Parallel()
	rules := []bill.Rule{
		{Department: "platform", Resource: "arn:aws:eks:*:cluster/prod-?"},
		{FromTag: "Cost-Center/1"},
		{Department: "search", Tags: map[string]string{"team": "search", "env": "prod"}},
		{Department: "finance", SubAccount: "Books"},
		{Department: "storage", Service: "object storage"},
		{FromSubAccount: true},
	}
	for name, tc := range map[string]struct {
		values map[string]string
		want   string
	}{
		"a glob of the resource":       {map[string]string{"ResourceId": "arn:aws:eks:ca-central-1:7:cluster/prod-1"}, "platform"},
		"a glob matches the whole":     {map[string]string{"ResourceId": "arn:aws:eks:ca-central-1:7:cluster/prod-12"}, "shop"},
		"the value of a tag":           {map[string]string{"Tags": `{"cost-center/1": "CC 7"}`}, "cc 7"},
		"a key with a blank before it": {map[string]string{"Tags": `{" Cost-Center/1": "CC 8"}`}, "cc 8"},
		"an empty tag is ignored":      {map[string]string{"Tags": `{"cost-center/1": " "}`}, "shop"},
		"all tags must be there":       {map[string]string{"Tags": `{"team": "search"}`}, "shop"},
		"in any case":                  {map[string]string{"Tags": `{"Team": "Search", "env": "PROD"}`}, "search"},
		"the name of the sub-account":  {map[string]string{"SubAccountName": "books", "ServiceName": "Object Storage"}, "finance"},
		"the service":                  {map[string]string{"ServiceName": "Object Storage"}, "storage"},
		"the sub-account name":         {nil, "shop"},
		"without a name by its id":     {map[string]string{"SubAccountName": ""}, "42"},
		"nothing":                      {map[string]string{"SubAccountName": "", "SubAccountId": "NULL"}, bill.Unallocated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := read(t, newReader(t, func(o *bill.Options) { o.Rules = rules }), write(t, "bill.csv", line(tc.values)))
			require.Len(t, s.Lines, 1)
			require.Equal(t, tc.want, s.Lines[0].Department)
		})
	}
}

func TestObservabilityIsRecognizedBySubcategoryOrRule(t *testing.T) {
	t.Parallel()
	header := strings.Replace(columns, "SubAccountId", "ServiceSubcategory", 1)
	path := filepath.Join(t.TempDir(), "bill.csv")
	content := header + "\n" + line(map[string]string{"SubAccountId": "Observability"}) + "\n" +
		line(map[string]string{"SubAccountId": "Other", "Tags": `{"app": "prometheus"}`}) + "\n" + line(map[string]string{"SubAccountId": "Other"}) + "\n"
	require.NoError(t, os.WriteFile(path, []byte("\xef\xbb\xbf"+content), 0o600)) // with the mark that Excel writes
	s := read(t, newReader(t, func(o *bill.Options) { o.Observability = []bill.Rule{{Tags: map[string]string{"app": "Prometheus"}}} }), path)
	require.Len(t, s.Lines, 2)
	for _, l := range s.Lines {
		require.Equal(t, map[bool]string{true: "2", false: "1"}[l.Observability], l.Amount.String())
	}
}

func TestAllFormatsGiveTheSame(t *testing.T) {
	t.Parallel()
	path := write(t, "bill.csv",
		line(map[string]string{"EffectiveCost": "0.1", "Tags": `{"team": "search"}`}),
		line(map[string]string{"EffectiveCost": "0.2", "BillingCurrency": "CAD"}))
	rules := func(o *bill.Options) { o.Rules = []bill.Rule{{FromTag: "team"}} }
	want := read(t, newReader(t, rules), path)
	require.Equal(t, "2026-03-10 13:00:00 +0000 UTC", want.Through.String())

	zipped := filepath.Join(t.TempDir(), "bill.csv.gz")
	f, err := os.Create(zipped)
	require.NoError(t, err)
	w := gzip.NewWriter(f)
	plain, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	require.Equal(t, want, read(t, newReader(t, rules), zipped))

	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for name, change := range map[string]string{
		"text":  "*",
		"typed": "* REPLACE (CAST(EffectiveCost AS DECIMAL(20, 6)) AS EffectiveCost, CAST(replace(BillingPeriodStart, 'Z', '') AS TIMESTAMP) AS BillingPeriodStart, CAST(ChargePeriodStart AS TIMESTAMPTZ) AS ChargePeriodStart)",
		"maps":  "* REPLACE (CAST(from_json(Tags, '{\"team\": \"VARCHAR\"}') AS STRUCT(team VARCHAR)) AS Tags)",
	} {
		parquet := filepath.Join(t.TempDir(), name+".parquet")
		_, err := db.Exec(fmt.Sprintf("SET TimeZone = 'UTC'; COPY (SELECT %s FROM read_csv('%s', all_varchar = true)) TO '%s'", change, path, parquet))
		require.NoError(t, err)
		require.Equal(t, want, read(t, newReader(t, rules), parquet), name)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(line(nil))
	f.Add(line(map[string]string{"Tags": `{"team": "a"}`, "EffectiveCost": "-1e3"}))
	f.Add("\"")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := bill.NewReader(bill.Options{Cost: bill.Effective, Zone: time.UTC, Rules: []bill.Rule{{FromTag: "team"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { require.NoError(t, r.Close()) }()
		path := filepath.Join(t.TempDir(), "bill.csv")
		if err := os.WriteFile(path, []byte(columns+"\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := r.Read(context.Background(), path)
		if err == nil && s.Rejected > s.Rows {
			t.Errorf("%d of %d rows are rejected", s.Rejected, s.Rows)
		}
	})
}
