package bill_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
	"github.com/thanos-io/objstore"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
)

// put writes a file of the source as if at an hour.
func put(t *testing.T, dir, name string, hour int, lines ...string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(append([]string{columns}, lines...), "\n")+"\n"), 0o600))
	at := time.Date(2026, 3, 20, hour, 0, 0, 0, time.UTC)
	require.NoError(t, os.Chtimes(path, at, at))
}

// ledgerOptions let every delivery count at once.
func ledgerOptions(d bill.Deliveries, g bill.Grouping) bill.LedgerOptions {
	return bill.LedgerOptions{Deliveries: d, Grouping: g, Now: time.Now, Logger: promslog.NewNopLogger()}
}

func cost(amount string) string { return line(map[string]string{"EffectiveCost": amount}) }

func total(b bill.Bill) string {
	sum := bill.Line{}.Amount
	for _, l := range b.Lines {
		sum = sum.Add(l.Amount)
	}
	return sum.String()
}

func TestRedeliveredPeriodIsReplaced(t *testing.T) {
	t.Parallel()
	february := func(amount string) string {
		return line(map[string]string{"EffectiveCost": amount, "BillingPeriodStart": "2026-02-01T00:00:00Z"})
	}
	for name, tc := range map[string]struct {
		deliveries bill.Deliveries
		grouping   bill.Grouping
		steps      []func(t *testing.T, dir string)
		want       []string // total after each step
	}{
		"a file that is overwritten": {bill.Auto, bill.ByFolder, []func(*testing.T, string){
			func(t *testing.T, dir string) { put(t, dir, "march.csv", 1, cost("1")) },
			func(t *testing.T, dir string) { put(t, dir, "march.csv", 2, cost("1"), cost("2")) },
			func(*testing.T, string) {}, // reading again changes nothing
		}, []string{"1", "3", "3"}},
		"parts of one folder add up": {bill.Auto, bill.ByFolder, []func(*testing.T, string){
			func(t *testing.T, dir string) {
				put(t, dir, "a/part1.csv", 1, cost("1"))
				put(t, dir, "a/part2.csv", 2, cost("2"))
			},
		}, []string{"3"}},
		"a new folder replaces the month so far": {bill.Auto, bill.ByFolder, []func(*testing.T, string){
			func(t *testing.T, dir string) { put(t, dir, "2026-03/run1/p.csv", 1, cost("1"), february("10")) },
			func(t *testing.T, dir string) { put(t, dir, "2026-03/run2/p.csv", 2, cost("5")) },
			func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(filepath.Join(dir, "2026-03/run2"))) },
		}, []string{"11", "15", "11"}},
		"each file is the month so far": {bill.Auto, bill.ByFile, []func(*testing.T, string){
			func(t *testing.T, dir string) { put(t, dir, "1.csv", 1, cost("1")) },
			func(t *testing.T, dir string) { put(t, dir, "2.csv", 2, cost("3")) },
		}, []string{"1", "3"}},
		"a credit that arrives later lowers the sum": {bill.Auto, bill.ByFolder, []func(*testing.T, string){
			func(t *testing.T, dir string) { put(t, dir, "m.csv", 1, cost("10")) },
			func(t *testing.T, dir string) { put(t, dir, "m.csv", 2, cost("10"), cost("-4")) },
		}, []string{"10", "6"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l, err := bill.Folder(newReader(t, nil), dir, ledgerOptions(tc.deliveries, tc.grouping))
			require.NoError(t, err)
			for i, step := range tc.steps {
				step(t, dir)
				b, err := l.Read(context.Background())
				require.NoError(t, err)
				require.Equal(t, tc.want[i], total(b), "after step %d", i)
			}
		})
	}
}

func TestBrokenDeliveryKeepsThePreviousOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := bill.Folder(newReader(t, nil), dir, ledgerOptions(bill.Auto, bill.ByFolder))
	require.NoError(t, err)
	put(t, dir, "run1/p.csv", 1, cost("7"))
	put(t, dir, "run2/p1.csv", 2, cost("8"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "run2", "p2.parquet"), []byte("half"), 0o600))
	b, err := l.Read(context.Background())
	require.ErrorContains(t, err, "p2.parquet")
	require.Equal(t, "7", total(b))
	require.NoError(t, os.Remove(filepath.Join(dir, "run2", "p2.parquet")))
	b, err = l.Read(context.Background())
	require.NoError(t, err)
	require.Equal(t, "8", total(b))
}

func TestProblemsOfAReplacedDeliveryAreDropped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := bill.Folder(newReader(t, nil), dir, ledgerOptions(bill.Auto, bill.ByFile))
	require.NoError(t, err)
	put(t, dir, "1.csv", 1, cost("7"), cost("much"))
	b, err := l.Read(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, 1, b.Rejected)
	put(t, dir, "2.csv", 2, cost("8"))
	b, err = l.Read(context.Background())
	require.NoError(t, err)
	require.Zero(t, b.Rejected)
	require.EqualValues(t, 1, b.Rows)
	require.Equal(t, "8", total(b))
}

func TestBillsComeFromObjectStoresToo(t *testing.T) {
	t.Parallel()
	bucket := objstore.NewInMemBucket()
	ctx := context.Background()
	require.NoError(t, bucket.Upload(ctx, "exports/march/p.csv", strings.NewReader(columns+"\n"+cost("7")+"\n")))
	require.NoError(t, bucket.Upload(ctx, "exports/march/manifest.json", strings.NewReader("{}")))
	require.NoError(t, bucket.Upload(ctx, "elsewhere/p.csv", strings.NewReader("no bill")))
	temp := t.TempDir()
	l := bill.Objects(newReader(t, func(o *bill.Options) { o.TempDir = temp }), objstore.NewPrefixedBucket(bucket, "exports"), ledgerOptions(bill.Auto, bill.ByFolder))
	b, err := l.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, "7", total(b))
	require.Equal(t, 1, b.Files)
	left, err := filepath.Glob(filepath.Join(temp, "bill-*"))
	require.NoError(t, err)
	require.Empty(t, left, "the copy is removed")
	require.NoError(t, l.Close())
}

// growing is a bucket whose export writes on while a file is read.
type growing struct {
	*objstore.InMemBucket
	more string
}

func (g *growing) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	in, err := g.InMemBucket.Get(ctx, name)
	if err == nil && g.more != "" {
		text := columns + "\n" + cost("7") + "\n" + g.more + "\n"
		g.more = ""
		err = g.Upload(ctx, name, strings.NewReader(text))
	}
	return in, err
}

func TestFileThatGrowsWhileReadIsNotCounted(t *testing.T) {
	t.Parallel()
	bucket := &growing{InMemBucket: objstore.NewInMemBucket(), more: cost("5")}
	ctx := context.Background()
	require.NoError(t, bucket.Upload(ctx, "bill.csv", strings.NewReader(columns+"\n"+cost("7")+"\n")))
	l := bill.Objects(newReader(t, nil), bucket, ledgerOptions(bill.Auto, bill.ByFolder))
	b, err := l.Read(ctx)
	require.NoError(t, err)
	require.Zero(t, b.Files)
	b, err = l.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, "12", total(b))
}

func TestMissingFolderIsAnError(t *testing.T) {
	t.Parallel()
	_, err := bill.Folder(newReader(t, nil), filepath.Join(t.TempDir(), "bills"), ledgerOptions(bill.Auto, bill.ByFolder))
	require.ErrorContains(t, err, "no such file or directory")
	_, err = bill.Folder(newReader(t, nil), write(t, "bill.csv"), ledgerOptions(bill.Auto, bill.ByFolder))
	require.ErrorContains(t, err, "expected the folder that the export writes to")
}
