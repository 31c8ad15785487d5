package lineage

import (
	"context"
	"net/url"
)

// Ping requests one registered model, which needs permission to read the registry.
func (r *Registry) Ping(ctx context.Context) error {
	return r.get(ctx, "registered-models/search", url.Values{"max_results": {"1"}}, nil)
}
