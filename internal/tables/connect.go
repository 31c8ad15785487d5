package tables

import (
	"context"
	"fmt"
)

// Ping reports whether the database answers. It runs a statement, because some drivers connect only then.
func (s *Source) Ping(ctx context.Context) error {
	if _, err := s.queryRow(ctx, "SELECT 1", 1); err != nil {
		return fmt.Errorf("connect: %w", s.redact(err))
	}
	return nil
}
