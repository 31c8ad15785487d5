package bill_test

import (
	"compress/gzip"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
)

// of is a charge of an account.
func of(account, amount, start string) string {
	at, err := time.Parse(time.RFC3339, start)
	if err != nil {
		panic(err)
	}
	return line(map[string]string{"SubAccountId": account, "EffectiveCost": amount, "ChargePeriodStart": start, "ChargePeriodEnd": at.Add(time.Hour).Format(time.RFC3339)})
}

// clockAt is an hour and a minute of 20 March.
func clockAt(hour, minute int) time.Time { return time.Date(2026, 3, 20, hour, minute, 0, 0, time.UTC) }

// note writes a file that is not a bill, with a modification time.
func (s *source) note(name, text string, at time.Time) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(s.t, os.WriteFile(path, []byte(text), 0o600))
	require.NoError(s.t, os.Chtimes(path, at, at))
}

// pack compresses a file of the source, whose time stays.
func (s *source) pack(name string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	in, err := os.Open(path)
	require.NoError(s.t, err)
	defer in.Close()
	info, err := in.Stat()
	require.NoError(s.t, err)
	out, err := os.Create(path + ".gz")
	require.NoError(s.t, err)
	w := gzip.NewWriter(out)
	_, err = io.Copy(w, in)
	require.NoError(s.t, err)
	require.NoError(s.t, w.Close())
	require.NoError(s.t, out.Close())
	require.NoError(s.t, os.Chtimes(path+".gz", info.ModTime(), info.ModTime()))
	require.NoError(s.t, os.Remove(path))
}

func settling(o *bill.LedgerOptions) { o.Settle = 10 * time.Minute }

// AWS Data Exports: a folder a billing period, whose parts are overwritten each day; the manifest, in another folder, comes last.
func TestAWSOverwritesAFolder(t *testing.T) {
	t.Parallel()
	s := newSource(t, settling)
	part := func(month string, n, hour int, amount string) {
		put(t, s.dir, fmt.Sprintf("focus/data/BILLING_PERIOD=%s/focus-%05d.csv", month, n), hour,
			line(map[string]string{"EffectiveCost": amount, "BillingPeriodStart": month + "-01T00:00:00Z"}))
	}
	manifest := func(month string, parts int, at time.Time) {
		var files []string
		for n := 1; n <= parts; n++ {
			files = append(files, fmt.Sprintf(`"s3://bucket/exports/focus/data/BILLING_PERIOD=%s/focus-%05d.csv"`, month, n))
		}
		s.note("focus/metadata/BILLING_PERIOD="+month+"/focus-Manifest.json", fmt.Sprintf(`{"dataFiles": [%s]}`, strings.Join(files, ", ")), at)
	}
	part("2026-02", 1, 1, "100")
	manifest("2026-02", 1, clockAt(1, 1))
	for n := 1; n <= 3; n++ {
		part("2026-03", n, 1, "3")
	}
	manifest("2026-03", 3, clockAt(1, 1))
	s.now = clockAt(1, 2)
	require.Equal(t, "109", s.total())

	// The next day's run, which needs only two parts.
	part("2026-03", 1, 5, "8")
	s.now = clockAt(5, 1)
	require.Equal(t, "109", s.total(), "one of the parts has arrived, and the manifest is of the run before")
	part("2026-03", 2, 5, "9")
	require.Equal(t, "109", s.total())
	manifest("2026-03", 2, clockAt(5, 2))
	s.now = clockAt(5, 3)
	require.Equal(t, "117", s.total(), "the third part is left of the run before")
}

// AWS Data Exports with a folder for each run.
func TestAWSWritesAFolderForEachRun(t *testing.T) {
	t.Parallel()
	s := newSource(t, settling)
	for day, amount := range map[int]string{5: "50", 6: "60"} {
		run := fmt.Sprintf("BILLING_PERIOD=2026-03/2026-03-%02dT05:00:00Z-7b1f", day)
		var lines []string
		for d := 1; d < day; d++ {
			lines = append(lines, charged("0", fmt.Sprintf("2026-03-%02dT00:00:00Z", d)))
		}
		name := "focus/data/" + run + "/focus-00001.csv"
		put(t, s.dir, name, day, append(lines, charged(amount, "2026-03-01T02:00:00Z"))...)
		s.pack(name)
		s.note("focus/metadata/"+run+"/focus-Manifest.json", `{"dataFiles": ["s3://bucket/exports/`+name+`.gz"]}`, clockAt(day, 1))
	}
	s.now = clockAt(6, 2)
	require.Equal(t, "60", s.total())
	require.NotContains(t, s.log.String(), "level=WARN")
}

// Azure: a folder of dates, one for each run, and a GUID, with the manifest beside the parts.
func TestAzureWritesAFolderForEachRun(t *testing.T) {
	t.Parallel()
	run := func(s *source, export string, hour int, lines ...string) string {
		dir := fmt.Sprintf("%s/20260301-20260331/2026032%d0500/0f8fad5b-d9cb-469f-a165-70867728950e", export, hour)
		put(t, s.dir, dir+"/part_0_0001.csv", hour, lines...)
		put(t, s.dir, dir+"/part_1_0001.csv", hour, lines...)
		s.note(dir+"/manifest.json", fmt.Sprintf(`{"manifestVersion": "2024-04-01", "blobCount": 2, "blobs": [{"blobName": "billing/%[1]s/part_0_0001.csv", "byteCount": 7},
			{"blobName": "billing/%[1]s/part_1_0001.csv", "byteCount": 7}]}`, dir), clockAt(hour, 1))
		return dir
	}
	t.Run("the month so far, each day anew", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, settling)
		run(s, "focus", 1, charged("10", "2026-03-01T00:00:00Z"))
		run(s, "focus", 2, charged("10", "2026-03-01T00:00:00Z"), charged("20", "2026-03-02T00:00:00Z"))
		require.Equal(t, "60", s.total())
	})
	t.Run("the exports of two subscriptions lie side by side, and none replaces the other", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, settling)
		run(s, "subscription-a", 1, of("a", "10", "2026-03-01T00:00:00Z"))
		run(s, "subscription-b", 2, of("b", "700", "2026-03-01T00:00:00Z"))
		require.Equal(t, "1420", s.total())
		run(s, "subscription-a", 3, of("a", "11", "2026-03-01T00:00:00Z"))
		require.Equal(t, "1422", s.total(), "the next run of the first replaces the one before alone")
	})
	t.Run("copied without the folders above", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, settling)
		dir := run(s, "focus", 1, charged("10", "2026-03-01T00:00:00Z"))
		require.NoError(t, os.Rename(filepath.Join(s.dir, dir), filepath.Join(s.dir, "march")))
		require.Equal(t, "20", s.total())
	})
	t.Run("a copy that is being made does not count", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, settling)
		put(t, s.dir, "march/part_0_0001.csv", 1, cost("7"))
		put(t, s.dir, "march/.azDownload-7b1f-part_1_0001.csv", 1, cost("5"))
		put(t, s.dir, "_temporary/0/part-00000.csv", 1, cost("5"))
		put(t, s.dir, "__MACOSX/march/part_0_0001.csv", 1, cost("5"))
		require.Equal(t, "7", s.total())
	})
}

// OCI: a folder a day, with a file for each six hours and sometimes late rows.
func TestOCIWritesWhatIsNew(t *testing.T) {
	t.Parallel()
	s := newSource(t, nil)
	for day := 1; day <= 3; day++ {
		for quarter := range 4 {
			var lines []string
			for hour := 6 * quarter; hour < 6*quarter+6; hour++ {
				for range 20 {
					lines = append(lines, charged("1", fmt.Sprintf("2026-03-%02dT%02d:00:00Z", day, hour)))
				}
				if day > 1 {
					lines = append(lines, charged("1", fmt.Sprintf("2026-03-%02dT%02d:00:00Z", day-1, hour))) // of each hour of the day before
				}
			}
			name := fmt.Sprintf("FOCUS Reports/2026/03/%02d/000100000%d-00001.csv", day, quarter)
			put(t, s.dir, name, 6*day, lines...)
			s.pack(name)
		}
	}
	require.Equal(t, fmt.Sprint(3*24*20+2*24), s.total())
	require.NotContains(t, s.log.String(), "level=WARN")
}

// Google's FOCUS view, exported from BigQuery in shards.
func TestBigQueryExportsShards(t *testing.T) {
	t.Parallel()
	s := newSource(t, nil)
	row := func(amount string) string {
		return line(map[string]string{
			"EffectiveCost": amount, "BillingPeriodStart": "2026-03-01 00:00:00 UTC", "ChargePeriodStart": "2026-03-10 12:00:00 UTC", "ChargePeriodEnd": "2026-03-10 13:00:00 UTC",
			"Tags": `[{"key":"team","value":"search","x_inherited":false,"x_namespace":"7","x_type":"LABEL"}]`,
		})
	}
	put(t, s.dir, "march/focus-000000000000.csv", 1, row("0.1"), row("1.5E-7"))
	put(t, s.dir, "march/focus-000000000001.csv", 1, row("0.30000000000000004"))
	require.Equal(t, "0.40000015", s.total())
}

func TestOneManifestMayBeOfSeveralFolders(t *testing.T) {
	t.Parallel()
	s := newSource(t, settling)
	put(t, s.dir, "a/1.csv", 1, of("a", "1", "2026-03-01T00:00:00Z"))
	s.note("run-manifest.json", `{"files": ["a/1.csv", "b/1.csv"]}`, clockAt(1, 1))
	s.now = clockAt(1, 2)
	require.Equal(t, "0", s.total())
	put(t, s.dir, "b/1.csv", 1, of("b", "2", "2026-03-01T00:00:00Z"))
	require.Equal(t, "3", s.total())
}

func TestPartlyOverlappingDeliveryIsReported(t *testing.T) {
	t.Parallel()
	s := newSource(t, nil)
	var all []string
	for hour := range 10 {
		all = append(all, charged("1", fmt.Sprintf("2026-03-10T%02d:00:00Z", hour)))
	}
	put(t, s.dir, "a/bill.csv", 1, all...)
	put(t, s.dir, "b/bill.csv", 2, all[:4]...)
	require.Equal(t, "14", s.total())
	require.Contains(t, s.log.String(), "has a part of what an earlier one has, and is added to it")
	put(t, s.dir, "b/bill.csv", 3, all[:5]...)
	require.Equal(t, "5", s.total(), "the half of it replaces it")
	require.NotContains(t, s.log.String(), "far less")
}

// Files in one folder are parts of one delivery. Where each is the month so far, that counts money twice.
func TestDuplicateFilesOfAFolderAreReported(t *testing.T) {
	t.Parallel()
	s := newSource(t, nil)
	put(t, s.dir, "2026-03-01.csv", 1, charged("1", "2026-03-01T00:00:00Z"))
	put(t, s.dir, "2026-03-02.csv", 20, charged("1", "2026-03-01T00:00:00Z"), charged("1", "2026-03-02T00:00:00Z"))
	require.Equal(t, "3", s.total())
	require.Contains(t, s.log.String(), "set delivery: file")

	parts := newSource(t, nil)
	put(t, parts.dir, "part1.csv", 1, charged("1", "2026-03-01T00:00:00Z"))
	put(t, parts.dir, "part2.csv", 1, charged("1", "2026-03-01T00:00:00Z"))
	require.Equal(t, "2", parts.total())
	require.NotContains(t, parts.log.String(), "level=WARN")
}

func TestUnreadFilesAreReported(t *testing.T) {
	t.Parallel()
	s := newSource(t, nil)
	put(t, s.dir, "march/part1.csv", 1, cost("7"))
	s.note("march/part2.csv.bz2", "BZh9", clockAt(1, 0))
	for _, name := range []string{"march/_SUCCESS", "march/schema.json", "march/query.sql", "march/.DS_Store"} {
		s.note(name, "", clockAt(1, 0))
	}
	for range 2 {
		require.Equal(t, "7", s.total())
	}
	require.Equal(t, 1, strings.Count(s.log.String(), "part2.csv.bz2"))
	require.Contains(t, s.log.String(), "files=1")
	_, err := s.ledger.Read(context.Background())
	require.NoError(t, err)
}

// LiteLLM: a file for each hour, with the running totals of the day of those API keys that were used in it.
func TestLiteLLMWritesRunningTotals(t *testing.T) {
	t.Parallel()
	row := func(day, key, model, amount string) string {
		at, err := time.Parse(time.DateOnly, day)
		require.NoError(t, err)
		return line(map[string]string{
			"BilledCost": amount, "EffectiveCost": amount, "BillingPeriodStart": day + "T00:00:00Z", "ChargePeriodStart": day + "T00:00:00Z",
			"ChargePeriodEnd": at.AddDate(0, 0, 1).Format(time.RFC3339), "ServiceName": "chat", "SubAccountId": "team-" + key[:1], "ResourceId": model,
		}) + "," + key + ",API Key,Requests,1.000000"
	}
	files := [][]string{
		{row("2026-03-10", "a1", "gpt-4o", "1"), row("2026-03-10", "a2", "gpt-4o", "10"), row("2026-03-10", "b1", "claude", "100")},
		{row("2026-03-10", "a1", "gpt-4o", "2.5")}, // a1 alone was used in this hour.
		{row("2026-03-10", "b1", "claude", "170"), row("2026-03-10", "b1", "gpt-4o", "0.5")},
		{row("2026-03-11", "a1", "gpt-4o", "7"), row("2026-03-10", "a2", "gpt-4o", "11")}, // What was written after midnight.
	}
	header := columns + ",BillingAccountId,BillingAccountType,ConsumedUnit,ConsumedQuantity"
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for _, deliveries := range []bill.Deliveries{bill.Auto, bill.Append, bill.Replace} {
		for _, form := range []string{"csv", "parquet"} {
			s := newSource(t, func(o *bill.LedgerOptions) { o.Deliveries = deliveries })
			for hour, rows := range files {
				name := fmt.Sprintf("focus_exports/date=2026-03-10/hour=%02d/usage_%02d.csv", hour, hour)
				s.note(name, header+"\n"+strings.Join(rows, "\n")+"\n", clockAt(hour+1, 5))
				if form == "parquet" {
					path := filepath.Join(s.dir, name)
					_, err := db.Exec(fmt.Sprintf("COPY (SELECT * FROM read_csv('%s', all_varchar = true)) TO '%s.parquet'", path, path))
					require.NoError(t, err)
					require.NoError(t, os.Remove(path))
					require.NoError(t, os.Chtimes(path+".parquet", clockAt(hour+1, 5), clockAt(hour+1, 5)))
				}
			}
			require.Equal(t, "191", s.total(), "%s of %s: 2.5 + 11 + 170 + 0.5 + 7", deliveries, form)
			require.NotContains(t, s.log.String(), "level=WARN")
		}
	}
}
