package responder

import (
	"context"
	"io"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// AuditMark is a position in the audit trail; see AuditTrail.Verify.
type AuditMark = audit.Mark

// AuditReport describes a valid audit trail.
type AuditReport = audit.Report

// AuditTrail reads the audit trail of a responder. The responder may be running.
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

// Verify checks that no record was changed, removed or inserted, and that the marks are on the trail. Its error names the
// first invalid record.
func (t *AuditTrail) Verify(ctx context.Context, marks ...AuditMark) (AuditReport, error) {
	return audit.Verify(ctx, t.store, marks...)
}

// Export writes the records as JSON lines and returns the mark of the last one.
func (t *AuditTrail) Export(ctx context.Context, to io.Writer) (AuditMark, error) {
	return audit.Export(ctx, t.store, to)
}

// Close ends the connection.
func (t *AuditTrail) Close() error { return t.store.Close() }

// VerifyAuditExport is Verify for a file that Export wrote.
func VerifyAuditExport(from io.Reader, marks ...AuditMark) (AuditReport, error) {
	return audit.VerifyExport(from, marks...)
}
