package tables

import (
	"context"
	"fmt"
)

// Ping says whether the database answers. It runs a statement: some drivers connect no earlier.
func (s *Source) Ping(ctx context.Context) error {
	if _, err := s.one(ctx, "SELECT 1", 1); err != nil {
		return fmt.Errorf("connect: %w", s.redact(err))
	}
	return nil
}
