package bill_test

import (
	"compress/gzip"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
)

func TestInvoiceRateIsUsedForCanadianDollars(t *testing.T) {
	t.Parallel()
	header := columns + ",PricingCurrency,x_BillingExchangeRate"
	for name, tc := range map[string]struct {
		currency, pricing, rate string
		off                     bool
		want                    string
	}{
		"what a unit of the bill's currency is worth":                       {"USD", "", "1.3905", false, "1.3905"},
		"Azure's rate from Canadian prices to a bill in another currency":   {"USD", "CAD", "0.72", false, "1.388888888889"},
		"one between other currencies says nothing":                         {"EUR", "USD", "0.92", false, "0"},
		"one of a bill in the currency of its prices is 1, and no exchange": {"USD", "USD", "1", false, "0"},
		"a bill in Canadian dollars needs none":                             {"CAD", "USD", "1.38", false, "0"},
		"none":                                                              {"USD", "", "", false, "0"},
		"it is an option":                                                   {"USD", "", "1.3905", true, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReader(t, func(o *bill.Options) { o.InvoiceRates = !tc.off })
			path := filepath.Join(t.TempDir(), "bill.csv")
			row := line(map[string]string{"BillingCurrency": tc.currency}) + "," + tc.pricing + "," + tc.rate
			require.NoError(t, os.WriteFile(path, []byte(header+"\n"+row+"\n"), 0o600))
			sheet := read(t, r, path)
			require.Zero(t, sheet.Rejected)
			require.Len(t, sheet.Lines, 1)
			require.Equal(t, tc.want, sheet.Lines[0].Rate.String())
		})
	}
	t.Run("one that is no number is named", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, func(o *bill.Options) { o.InvoiceRates = true })
		path := filepath.Join(t.TempDir(), "bill.csv")
		require.NoError(t, os.WriteFile(path, []byte(header+"\n"+line(nil)+",,1;39\n"+line(nil)+",,-1\n"), 0o600))
		sheet := read(t, r, path)
		require.EqualValues(t, 2, sheet.Rejected)
		require.ErrorContains(t, sheet.Problems[0], `line 2: x_BillingExchangeRate: is "1;39", expected a number above 0`)
	})
}

func TestHoursOfGPUsAreCounted(t *testing.T) {
	t.Parallel()
	const description = "$98.32 per On Demand Linux p5.48xlarge Instance Hour"
	rows := []string{
		line(nil) + "," + description + ",2,Hours",                          // 16
		line(nil) + ",Nvidia H100 80GB GPU running in Toronto,30,Minutes",   // 0.5
		line(nil) + ",Nvidia H100 80GB GPU running in Toronto,1800,seconds", // 0.5
		line(nil) + "," + description + ",NULL,",                            // an hour of a machine: 8
		line(nil) + ",Disk,700,GB-Mo",
		line(map[string]string{"ChargeCategory": "Purchase"}) + "," + description + ",8760,Hours",
		line(map[string]string{"ChargeClass": "Correction"}) + "," + description + ",-1,Hours", // -8
		line(nil) + "," + description + ",two,Hours",
	}
	change := func(o *bill.Options) {
		o.GPUs = []bill.GPURule{{Rule: bill.Rule{Description: "*p5.48xlarge*"}, GPUs: 8}, {Rule: bill.Rule{Description: "Nvidia H100*"}, GPUs: 1}}
		o.Metered = []bill.Rule{{Description: "*GPU*"}}
	}
	path := filepath.Join(t.TempDir(), "bill.csv")
	require.NoError(t, os.WriteFile(path, []byte(columns+",ChargeDescription,ConsumedQuantity,ConsumedUnit\n"+strings.Join(rows, "\n")+"\n"), 0o600))
	parquet := filepath.Join(t.TempDir(), "bill.parquet")
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), fmt.Sprintf("COPY (SELECT * FROM read_csv('%s', all_varchar = true)) TO '%s' (FORMAT parquet)", path, parquet))
	require.NoError(t, err)
	for _, file := range []string{path, parquet} {
		sheet := read(t, newReader(t, change), file)
		hours, metered := 0.0, int64(0)
		for _, l := range sheet.Lines {
			hours += l.GPUHours
			if l.Metered {
				metered += l.Rows
			}
		}
		require.InDelta(t, 16+0.5+0.5+8-8, hours, 1e-9, file)
		require.EqualValues(t, 2, metered, file)
		require.EqualValues(t, 1, sheet.Rejected, file)
		require.ErrorContains(t, sheet.Problems[0], `ConsumedQuantity: is "two", expected a decimal number`)
	}
	for _, l := range read(t, newReader(t, nil), path).Lines {
		require.True(t, l.Metered, "without a rule every line is compared")
		require.Zero(t, l.GPUHours)
	}
}

// focus is a bill of the shape of the FinOps Foundation's sample of FOCUS 1.0: three providers and their services, amounts with
// up to twelve digits after the point and in exponents, credits, and NULL as text.
func focus(seed uint64, rows int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	amounts := []func() string{
		func() string { return fmt.Sprintf("%.12f", r.Float64()/100) },
		func() string { return fmt.Sprintf("%.6f", r.Float64()*1000) },
		func() string { return fmt.Sprintf("%.3e", r.Float64()/1e6) },
		func() string { return fmt.Sprintf("-%.10f", r.Float64()) },
		func() string { return "0" },
	}
	var b strings.Builder
	b.WriteString(columns + ",ProviderName\n")
	for range rows {
		service := r.IntN(12)
		start := time.Date(2024, 9, 1, r.IntN(24*30), 0, 0, 0, time.UTC)
		tags := "NULL"
		if r.IntN(3) > 0 {
			tags = fmt.Sprintf(`{"team": "t%d", "note": "a, \"b\""}`, r.IntN(5))
		}
		b.WriteString(line(map[string]string{
			"BilledCost": amounts[r.IntN(len(amounts))](), "EffectiveCost": amounts[r.IntN(len(amounts))](), "BillingCurrency": "USD",
			"BillingPeriodStart": "2024-09-01 00:00:00", "ChargePeriodStart": start.Format(time.DateTime), "ChargePeriodEnd": start.Add(time.Hour).Format(time.DateTime),
			"ServiceName": fmt.Sprintf("Service %d", service), "ServiceCategory": fmt.Sprintf("Category %d", service%4), "Tags": tags,
		}) + "," + []string{"AWS", "Microsoft", "Google"}[service%3] + "\n")
	}
	return b.String()
}

// Every sum by service is that of an independent query, to the last digit, in every form that bills come in.
func TestABillOfTheSamplesShapeEqualsDuckDBToTheLastDigit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	csv := filepath.Join(dir, "focus.csv")
	require.NoError(t, os.WriteFile(csv, []byte(focus(2024, 5000)), 0o600))
	requireEqualsDuckDB(t, csv)
}

// SIGHTGLASS_FOCUS_SAMPLE names the official sample, which is not ours to give away.
func TestTheOfficialSampleEqualsDuckDBToTheLastDigit(t *testing.T) {
	t.Parallel()
	sample := os.Getenv("SIGHTGLASS_FOCUS_SAMPLE")
	if sample == "" {
		t.Skip("SIGHTGLASS_FOCUS_SAMPLE is not set")
	}
	requireEqualsDuckDB(t, sample)
}

// requireEqualsDuckDB compares the sums of a CSV file, and of the same as CSV.gz and Parquet, with those of a query.
func requireEqualsDuckDB(t *testing.T, csv string) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(csv)
	require.NoError(t, err)
	packed, err := os.Create(filepath.Join(dir, "focus.csv.gz"))
	require.NoError(t, err)
	zip := gzip.NewWriter(packed)
	_, err = zip.Write(text)
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	require.NoError(t, packed.Close())
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer db.Close()
	parquet := filepath.Join(dir, "focus.parquet")
	_, err = db.ExecContext(t.Context(), fmt.Sprintf("COPY (SELECT * FROM read_csv('%s', all_varchar = true)) TO '%s' (FORMAT parquet)", csv, parquet))
	require.NoError(t, err)

	for _, cost := range []bill.Cost{bill.Effective, bill.Billed} {
		want := sumsOf(t, db, csv, map[bill.Cost]string{bill.Effective: "EffectiveCost", bill.Billed: "BilledCost"}[cost])
		require.NotEmpty(t, want)
		for _, file := range []string{csv, packed.Name(), parquet} {
			sheet := read(t, newReader(t, func(o *bill.Options) { o.Cost = cost; o.Rules = []bill.Rule{{FromTag: "team"}} }), file)
			require.Zero(t, sheet.Rejected, "%s: %v", file, sheet.Problems)
			got := map[string]decimal.Decimal{}
			for _, l := range sheet.Lines {
				got[l.Service] = got[l.Service].Add(l.Amount)
			}
			require.Len(t, got, len(want), file)
			for service, amount := range want {
				require.True(t, amount.Equal(got[service]), "%s: %s of %s: %s, and %s by the query", filepath.Base(file), cost, service, got[service], amount)
			}
		}
	}
}

func sumsOf(t *testing.T, db *sql.DB, csv, column string) map[string]decimal.Decimal {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), fmt.Sprintf(
		"SELECT ServiceName, CAST(sum(CAST(%s AS DECIMAL(38, 12))) AS VARCHAR) FROM read_csv('%s', all_varchar = true) GROUP BY 1", column, csv))
	require.NoError(t, err)
	defer rows.Close()
	all := map[string]decimal.Decimal{}
	for rows.Next() {
		var service, sum string
		require.NoError(t, rows.Scan(&service, &sum))
		all[service], err = decimal.NewFromString(sum)
		require.NoError(t, err)
	}
	require.NoError(t, rows.Err())
	return all
}
