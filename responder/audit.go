package responder

import (
	"context"
	"io"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// AuditMark is a place in the audit trail; see AuditTrail.Verify.
type AuditMark = audit.Mark

// AuditReport is what an audit trail that holds consists of.
type AuditReport = audit.Report

// AuditTrail reads the audit trail of a responder, which may be running.
type AuditTrail struct{ store *store.Store }

// OpenAuditTrail opens the trail in the store of a responder's configuration file.
func OpenAuditTrail(ctx context.Context, path string) (*AuditTrail, error) {
	cfg, err := config.Load[Config](path)
	if err != nil {
		return nil, err
	}
	s, err := store.OpenExisting(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	return &AuditTrail{s}, nil
}

// Verify proves that no record was changed, removed or put in, and that the marks are on the trail. Its error names the
// first record that is wrong.
func (t *AuditTrail) Verify(ctx context.Context, marks ...AuditMark) (AuditReport, error) {
	return audit.Verify(ctx, t.store, marks...)
}

// Export writes the records as JSON lines and returns the mark of the last.
func (t *AuditTrail) Export(ctx context.Context, to io.Writer) (AuditMark, error) {
	return audit.Export(ctx, t.store, to)
}

// Close ends the connection.
func (t *AuditTrail) Close() error { return t.store.Close() }

// VerifyAuditExport is Verify for what Export wrote.
func VerifyAuditExport(from io.Reader, marks ...AuditMark) (AuditReport, error) {
	return audit.VerifyExport(from, marks...)
}
