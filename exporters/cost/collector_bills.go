package cost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

func (e *Exporter) openBills() error {
	cfg := e.cfg.Bills
	if len(cfg.Sources) == 0 {
		return nil
	}
	o := bill.Options{Cost: cfg.Cost, Zone: e.cfg.calendar.Zone(), MemoryLimit: int64(cfg.MemoryLimit), Threads: cfg.Threads, TempDir: e.cfg.temp(), KeepCase: cfg.KeepCase, InvoiceRates: e.cfg.Exchange.InvoiceRates}
	for _, b := range e.cfg.Budgets {
		o.Departments = append(o.Departments, b.Department)
	}
	for _, r := range cfg.Departments {
		o.Rules = append(o.Rules, r.rule())
	}
	for _, r := range cfg.Observability {
		o.Observability = append(o.Observability, r.rule())
	}
	for _, r := range cfg.Metered {
		o.Metered = append(o.Metered, r.rule())
	}
	for _, r := range cfg.GPUMachines {
		o.GPUs = append(o.GPUs, bill.GPURule{Rule: r.rule(), GPUs: r.GPUs})
	}
	var err error
	if e.reader, err = bill.NewReader(o); err != nil {
		return err
	}
	before := e.handover.take()
	if before != nil && (before.reader == nil || !e.reader.TakeOver(before.reader)) {
		before = nil // What a line costs whom may have changed: bills are read again.
	}
	for i, s := range cfg.Sources {
		key := fmt.Sprintf("bills.sources[%d].folder", i)
		if s.Bucket != nil {
			key = fmt.Sprintf("bills.sources[%d].bucket", i)
		}
		l := &ledger{name: s.Name, key: key, source: s, open: func() (*bill.Ledger, error) {
			l, err := openLedger(e.reader, s, e.now, e.log)
			return l, e.cfg.Wrap(key, err)
		}}
		if before != nil {
			if same := slices.IndexFunc(before.ledgers, func(old *ledger) bool { return sameLocation(old.source, s) }); same >= 0 {
				l.before = before.ledgers[same]
			}
		}
		e.ledgers = append(e.ledgers, l)
	}
	return nil
}

func openLedger(reader *bill.Reader, s SourceConfig, now func() time.Time, logger *slog.Logger) (*bill.Ledger, error) {
	how := bill.LedgerOptions{Deliveries: s.Deliveries, Grouping: s.Delivery, Settle: time.Duration(s.Settle), Now: now, Logger: logger.With("source", s.Name)}
	if s.Bucket == nil {
		return bill.Folder(reader, string(s.Folder), how)
	}
	bucket, err := s.Bucket.Bucket(logger)
	if err != nil {
		return nil, err
	}
	return bill.Objects(reader, bucket, how), nil
}

// readBills reads new bills and publishes the sums of the month.
func (e *Exporter) readBills(ctx context.Context) error {
	var errs []error
	var bills []bill.Bill
	currencies := map[string]bool{}
	var out exporter.Metrics
	defer func() {
		e.mu.Lock()
		e.billsRead = true
		e.mu.Unlock()
	}()
	for _, l := range e.ledgers {
		b, err := l.read(ctx)
		if err != nil {
			errs = append(errs, e.cfg.Wrap(l.key, fmt.Errorf("source %q: %w", l.name, err)))
		}
		if b.Rejected > 0 {
			errs = append(errs, fmt.Errorf("source %q: %d of %d rows cannot be read and do not count; the first is: %w", l.name, b.Rejected, b.Rows, b.Problems[0]))
		}
		for _, line := range b.Lines {
			currencies[line.Currency] = true
		}
		if b.Files == 0 {
			continue // Nothing has been billed yet, or nothing can be read: neither means zero.
		}
		bills = append(bills, b)
		out.Gauge(e.descs.rows, float64(b.Rows), l.name)
		out.Gauge(e.descs.rejected, float64(b.Rejected), l.name)
		out.Gauge(e.descs.unreadTags, float64(b.UnreadTags), l.name)
		if !b.Through.IsZero() {
			out.Gauge(e.descs.through, float64(b.Through.Unix()), l.name)
		}
	}
	if e.rates.Want(slices.Sorted(maps.Keys(currencies))...) {
		// Bills may have added a currency. Its bank rate is needed now. Otherwise a configured rate would count until
		// the next query of the banks.
		if err := e.rates.Refresh(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if len(bills) > 0 {
		s := summarise(bills, e.rates.Book(), e.cfg.calendar, e.now())
		for _, currency := range slices.Sorted(maps.Keys(s.unconverted)) {
			errs = append(errs, fmt.Errorf("%d rows in %s have no exchange rate and do not count", s.unconverted[currency], currency))
		}
		e.publish(&out, s)
		// After three failed readings in a row the series are absent, because absent is better than old.
		e.snapshot.Set(out, 3*time.Duration(e.cfg.Bills.Interval)+time.Duration(e.cfg.Bills.Timeout))
	}
	return errors.Join(errs...)
}

// handover is where an instance leaves what it has read for the instance that replaces it.
type handover struct {
	mu   sync.Mutex
	from *Exporter
}

func (h *handover) leave(e *Exporter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.from = e
}

// take is nil for the first instance.
func (h *handover) take() *Exporter {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.from
	h.from = nil
	return e
}

// ledger is a source of bills. It is opened when it is first read, and again after that failed: a folder that is not
// mounted yet must not keep the exporter from the other sources.
type ledger struct {
	name   string
	key    string // in the configuration
	source SourceConfig
	open   func() (*bill.Ledger, error)

	mu     sync.Mutex // guards what follows
	opened *bill.Ledger
	before *ledger // that of the same place in the instance before, until it is taken over
}

func (l *ledger) read(ctx context.Context) (bill.Bill, error) {
	opened, err := l.ensureOpen()
	if err != nil {
		return bill.Bill{}, err
	}
	return opened.Read(ctx)
}

// ensureOpen opens the source unless it is open.
func (l *ledger) ensureOpen() (*bill.Ledger, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened != nil {
		return l.opened, nil
	}
	opened, err := l.open()
	if err != nil {
		return nil, err
	}
	if l.before != nil {
		if read := l.before.current(); read != nil {
			opened.TakeOver(read)
		}
		l.before = nil
	}
	l.opened = opened
	return opened, nil
}

// current is nil until the source is open.
func (l *ledger) current() *bill.Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened
}

func (l *ledger) close() error {
	if opened := l.current(); opened != nil {
		return opened.Close()
	}
	return nil
}

// sameLocation says whether two sources are one folder or bucket.
func sameLocation(a, b SourceConfig) bool {
	return a.Folder == b.Folder && config.Equal(a.Bucket, b.Bucket)
}
