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

// Environment variables of the benchmark: the size of the bill, and the file that a child process reads.
const (
	benchBytes = "BENCH_COST_BYTES"
	benchRead  = "BENCH_COST_READ"
	benchBare  = "BENCH_COST_BARE"
)

// Limits for reading: bytes of memory for a bill of any size, and CPU and wall time relative to the bare query.
const (
	maxRSS   = 256 << 20
	maxTimes = 1.5
)

// benchMemory is the limit of the database of the bare query.
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

// readWhole reads a bill as the exporter does, with rules for departments that read tags, a tag and the service, and the
// sub-account.
func readWhole(path string) error {
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		return err
	}
	r, err := bill.NewReader(bill.Options{
		Cost: bill.Effective, Zone: zone, Threads: 1, TempDir: filepath.Dir(path),
		Rules: []bill.Rule{
			{Department: "platform", Tags: map[string]string{"env": "prod"}, Service: "Service 7"},
			{FromTag: "team"},
			{FromSubAccount: true},
		},
		Observability: []bill.Rule{{Tags: map[string]string{"application": "application-9"}}},
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

// aggregate is the query that one would write by hand for the same sums, if every file were as FOCUS wants it. It divides
// nothing among departments.
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

// report has the results of a process and its peak memory.
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

// generate writes a month of a bill until it has a size, and returns its rows. Each line may have tags that no other has.
func generate(b *testing.B, path string, size int64, different bool) (rows int64) {
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
		tags := ""
		if different {
			tags = fmt.Sprintf(`, ""request"": ""%016x""`, random.Uint64())
		}
		n, err := fmt.Fprintf(w, `%[1]d.%04[2]d,%[1]d.%04[2]d,USD,2026-03-01T00:00:00Z,%[3]s,%[4]s,Usage,Service %[5]d,Category %[6]d,%012[7]d,Account %[7]d,`+
			`arn:aws:ec2:ca-central-1:%012[7]d:instance/i-%016[8]x,"{""team"": ""team-%[7]d"", ""env"": ""prod"", ""application"": ""application-%[5]d""%[9]s}",`+
			`Virtual Machines,AWS,ca-central-1,SKU%08[8]d,Hours,%[1]d.%04[2]d,%[1]d.%04[2]d,"US$%[1]d.%04[2]d per hour, on demand, of a machine of which there are %[8]d"`+"\n",
			cents/10000, cents%10000, hour.Format(time.RFC3339), hour.Add(time.Hour).Format(time.RFC3339), service, service%8, account, random.IntN(100_000_000), tags)
		require.NoError(b, err)
		written += int64(n)
	}
	require.NoError(b, w.Flush())
	return rows
}

// BenchmarkRead reads a bill of 300 MB, or of BENCH_COST_BYTES, in a process of its own, and then with the query that one
// would write by hand.
func BenchmarkRead(b *testing.B) {
	size := int64(300_000_000)
	if text := os.Getenv(benchBytes); text != "" {
		var err error
		size, err = strconv.ParseInt(text, 10, 64)
		require.NoError(b, err)
	}
	for name, different := range map[string]bool{"tags that recur": false, "every tag different": true} {
		b.Run(name, func(b *testing.B) { compareWithBare(b, size, different) })
	}
}

// benchRounds is how often both are run, in turn. The least counts of time and CPU, since whatever else the machine does only
// adds to them, and the most of memory.
const benchRounds = 3

// effort has the resources that a process used.
type effort struct {
	wall, cpu time.Duration
	rss       int64
}

func (e effort) least(o effort) effort {
	if e.wall == 0 {
		return o
	}
	return effort{min(e.wall, o.wall), min(e.cpu, o.cpu), max(e.rss, o.rss)}
}

func compareWithBare(b *testing.B, size int64, different bool) {
	path := filepath.Join(b.TempDir(), "bill.csv")
	rows := generate(b, path, size, different)
	self, err := os.Executable()
	require.NoError(b, err)
	run := func(what string) effort {
		child := exec.Command(self)
		child.Env = append(os.Environ(), what+"="+path)
		out, err := child.CombinedOutput()
		require.NoError(b, err, "%s", out)
		var got, rss int64
		var seconds float64
		_, err = fmt.Sscanf(strings.TrimSpace(string(out)), "rows %d seconds %f kilobytes %d", &got, &seconds, &rss)
		require.NoError(b, err, "%s", out)
		require.Equal(b, rows, got)
		// The whole process counts, with its start.
		return effort{time.Duration(seconds * float64(time.Second)), child.ProcessState.UserTime() + child.ProcessState.SystemTime(), rss << 10}
	}
	run(benchBare) // The file is in the page cache for both.
	var read, bare effort
	b.ResetTimer()
	for range b.N {
		read, bare = effort{}, effort{}
		for range benchRounds {
			read, bare = read.least(run(benchRead)), bare.least(run(benchBare))
		}
	}
	b.ReportMetric(float64(size)/1e9, "GB")
	b.ReportMetric(read.cpu.Seconds(), "s-CPU")
	b.ReportMetric(bare.cpu.Seconds(), "bare-s-CPU")
	b.ReportMetric(read.cpu.Seconds()/bare.cpu.Seconds(), "times-bare-CPU")
	b.ReportMetric(read.wall.Seconds(), "s-wall")
	b.ReportMetric(bare.wall.Seconds(), "bare-s-wall")
	b.ReportMetric(read.wall.Seconds()/bare.wall.Seconds(), "times-bare-wall")
	b.ReportMetric(float64(rows)/read.wall.Seconds(), "rows/s")
	b.ReportMetric(float64(read.rss)/(1<<20), "MiB-RSS")
	b.ReportMetric(float64(bare.rss)/(1<<20), "bare-MiB-RSS")
	b.Logf("CPU %s, bare %s; time %s, bare %s; %d MiB, bare %d MiB", read.cpu, bare.cpu, read.wall, bare.wall, read.rss>>20, bare.rss>>20)
	require.LessOrEqual(b, read.rss, int64(maxRSS), "bytes of memory")
	require.LessOrEqual(b, read.cpu.Seconds(), maxTimes*bare.cpu.Seconds(), "CPU seconds beside the bare query's")
	require.LessOrEqual(b, read.wall.Seconds(), maxTimes*bare.wall.Seconds(), "seconds beside the bare query's")
}
