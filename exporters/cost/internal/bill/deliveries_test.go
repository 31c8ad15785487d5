package bill_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
)

// source is a folder with a ledger. Its clock is at the end of 20 March.
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

func TestDeliveriesAddNewRowsOrReplaceTheMonthToDate(t *testing.T) {
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

func TestDeliveryCountsWhenComplete(t *testing.T) {
	t.Parallel()
	settle := func(o *bill.LedgerOptions) { o.Settle = 10 * time.Minute }
	t.Run("the part that has arrived does not replace the whole", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, settle)
		for part := 1; part <= 3; part++ {
			put(t, s.dir, fmt.Sprintf("bill/part%d.csv", part), 1, cost("100"))
		}
		require.Equal(t, "300", s.total())
		put(t, s.dir, "bill/part1.csv", 5, cost("110")) // One of three has arrived.
		s.now = clockAt(5, 9)
		require.Equal(t, "300", s.total())
		put(t, s.dir, "bill/part2.csv", 5, cost("110"))
		put(t, s.dir, "bill/part3.csv", 5, cost("110"))
		require.Equal(t, "300", s.total())
		s.now = clockAt(5, 10)
		require.Equal(t, "330", s.total())
	})
	t.Run("the part that has arrived in a folder of its own does not, either", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, settle)
		for part := 1; part <= 3; part++ {
			put(t, s.dir, fmt.Sprintf("run1/part%d.csv", part), 1, cost("100"))
		}
		require.Equal(t, "300", s.total())
		for part := 1; part <= 3; part++ {
			put(t, s.dir, fmt.Sprintf("run2/part%d.csv", part), 5, cost("110"))
			s.now = clockAt(5, 3*part)
			require.Equal(t, "300", s.total(), "%d of 3", part)
		}
		s.now = clockAt(5, 10)
		require.Equal(t, "330", s.total())
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

func TestOtherFilesBesideBills(t *testing.T) {
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
		_, err := s.ledger.Read(context.Background())
		require.ErrorContains(t, err, "no bill in it: there are 0 files whose names end in one of .csv, .csv.gz, .csv.zst, .csv.zstd, .csv.zip, .zip, .parquet with no charges in them, and 0 others")
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "bill.xlsx"), []byte("PK"), 0o600))
		_, err = s.ledger.Read(context.Background())
		require.ErrorContains(t, err, "no bill in it: there are 0 files whose names end in one of .csv, .csv.gz, .csv.zst, .csv.zstd, .csv.zip, .zip, .parquet with no charges in them, and 1 others, such as bill.xlsx")
	})
	t.Run("a folder with the other datasets of FOCUS alone is an error", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, nil)
		s.note("commitments.csv", "BillingCurrency,ContractCommitmentCategory,ContractCommitmentId,ContractId\n1,2,3,4\n", clockAt(1, 0))
		_, err := s.ledger.Read(context.Background())
		require.ErrorContains(t, err, "no bill in it: there are 1 files")
	})
	t.Run("a folder with reports of another format alone is an error", func(t *testing.T) {
		t.Parallel()
		s := newSource(t, nil)
		s.note("cur.csv", "identity/LineItemId,lineItem/UnblendedCost\n1,2\n", clockAt(1, 0))
		_, err := s.ledger.Read(context.Background())
		require.ErrorContains(t, err, "it looks like AWS's Cost and Usage Report")
	})
}
