package bill_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
)

// What the benchmark is told by its environment: the size of the bill, and what a process of its own has to read.
const (
	benchBytes = "BENCH_COST_BYTES"
	benchRead  = "BENCH_COST_READ"
	benchBare  = "BENCH_COST_BARE"
)

// maxRSS is what reading may take, whatever the size of the bill.
const maxRSS = 512 << 20

// benchMemory is the limit of the database in both processes.
const benchMemory = 256 << 20

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(benchRead) != "":
		err = readWhole(os.Getenv(benchRead))
	case os.Getenv(benchBare) != "":
		err = aggregate(os.Getenv(benchBare))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// readWhole reads a bill as the exporter does, with rules for departments.
func readWhole(path string) error {
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		return err
	}
	r, err := bill.NewReader(bill.Options{
		Cost: bill.Effective, Zone: zone, MemoryLimit: benchMemory, Threads: 1, TempDir: filepath.Dir(path),
		Rules: []bill.Rule{{FromTag: "team"}, {FromSubAccount: true}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	begin := time.Now()
	s, err := r.Read(context.Background(), path)
	if err != nil {
		return err
	}
	if s.Rejected > 0 {
		return s.Problems[0]
	}
	return report(s.Rows, time.Since(begin))
}

// aggregate is the query that one would write by hand for the same sums, if every file were as FOCUS wants it.
func aggregate(path string) error {
	db, err := sql.Open("duckdb", fmt.Sprintf("?memory_limit=%dB&threads=1&preserve_insertion_order=false&temp_directory=%s", benchMemory, filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	begin := time.Now()
	var groups, rows int64
	err = db.QueryRow(`SELECT count(*), sum(n)::BIGINT FROM (
		SELECT CAST(ChargePeriodStart AS DATE) AS day, BillingCurrency, SubAccountName, ServiceName, ServiceCategory,
			sum(CAST(EffectiveCost AS DECIMAL(38, 12))) AS cost, count(*) AS n
		FROM read_csv(?) GROUP BY ALL)`, path).Scan(&groups, &rows)
	if err != nil {
		return err
	}
	return report(rows, time.Since(begin))
}

// report says what a process did, and the most memory that it ever had.
func report(rows int64, took time.Duration) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	peak := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if peak == nil {
		return fmt.Errorf("no VmHWM in /proc/self/status")
	}
	fmt.Printf("rows %d seconds %.3f kilobytes %s\n", rows, took.Seconds(), peak[1])
	return nil
}

// generate writes a month of a bill until it has a size, and returns its rows.
func generate(b *testing.B, path string, size int64) (rows int64) {
	b.Helper()
	f, err := os.Create(path)
	require.NoError(b, err)
	defer func() { require.NoError(b, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	header := columns + ",ServiceSubcategory,ProviderName,RegionId,SkuId,PricingUnit,ListCost,ContractedCost,ChargeDescription"
	n, err := fmt.Fprintln(w, header)
	require.NoError(b, err)
	random := rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for written := int64(n); written < size; rows++ {
		hour := begin.Add(time.Duration(random.IntN(31*24)) * time.Hour)
		cents, service, account := random.IntN(1_000_000), random.IntN(60), random.IntN(20)
		n, err := fmt.Fprintf(w, `%[1]d.%04[2]d,%[1]d.%04[2]d,USD,2026-03-01T00:00:00Z,%[3]s,%[4]s,Usage,Service %[5]d,Category %[6]d,%012[7]d,Account %[7]d,`+
			`arn:aws:ec2:ca-central-1:%012[7]d:instance/i-%016[8]x,"{""team"": ""team-%[7]d"", ""env"": ""prod"", ""application"": ""application-%[5]d""}",`+
			`Virtual Machines,AWS,ca-central-1,SKU%08[8]d,Hours,%[1]d.%04[2]d,%[1]d.%04[2]d,"US$%[1]d.%04[2]d per hour, on demand, of a machine of which there are %[8]d"`+"\n",
			cents/10000, cents%10000, hour.Format(time.RFC3339), hour.Add(time.Hour).Format(time.RFC3339), service, service%8, account, random.IntN(100_000_000))
		require.NoError(b, err)
		written += int64(n)
	}
	require.NoError(b, w.Flush())
	return rows
}

// BenchmarkRead reads a bill of 5 GB, or of BENCH_COST_BYTES, in a process of its own, and then with the query that one
// would write by hand.
func BenchmarkRead(b *testing.B) {
	size := int64(5_000_000_000)
	if text := os.Getenv(benchBytes); text != "" {
		var err error
		size, err = strconv.ParseInt(text, 10, 64)
		require.NoError(b, err)
	}
	path := filepath.Join(b.TempDir(), "bill.csv")
	rows := generate(b, path, size)
	self, err := os.Executable()
	require.NoError(b, err)
	run := func(what string) (seconds float64, rss int64) {
		child := exec.Command(self)
		child.Env = append(os.Environ(), what+"="+path)
		out, err := child.CombinedOutput()
		require.NoError(b, err, "%s", out)
		var got int64
		_, err = fmt.Sscanf(strings.TrimSpace(string(out)), "rows %d seconds %f kilobytes %d", &got, &seconds, &rss)
		require.NoError(b, err, "%s", out)
		require.Equal(b, rows, got)
		return seconds, rss << 10
	}
	var read, bare float64
	var rss, bareRSS int64
	b.ResetTimer()
	for range b.N {
		seconds, most := run(benchRead)
		read, rss = read+seconds, max(rss, most)
		seconds, most = run(benchBare)
		bare, bareRSS = bare+seconds, max(bareRSS, most)
	}
	total := float64(rows) * float64(b.N)
	b.ReportMetric(float64(size)/1e9, "GB")
	b.ReportMetric(total/read, "rows/s")
	b.ReportMetric(total/bare, "bare-rows/s")
	b.ReportMetric(read/bare, "times-bare")
	b.ReportMetric(float64(rss)/(1<<20), "MiB-RSS")
	b.ReportMetric(float64(bareRSS)/(1<<20), "bare-MiB-RSS")
	require.LessOrEqual(b, rss, int64(maxRSS), "bytes of memory")
}
