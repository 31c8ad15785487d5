package cost

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
	"github.com/sightglass-ml/sightglass/internal/config"
)

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

// samePlace says whether two sources are one folder or bucket.
func samePlace(a, b SourceConfig) bool {
	return a.Folder == b.Folder && config.Equal(a.Bucket, b.Bucket)
}

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
			if same := slices.IndexFunc(before.ledgers, func(old *ledger) bool { return samePlace(old.source, s) }); same >= 0 {
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
