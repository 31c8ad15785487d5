package modelquality

import (
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/clients"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// fieldLimits divides baselines.fields.max_total among the clients, by the models that belong to each.
func fieldLimits(cfg *Config, limiter func(name string, most int) *limit.Limiter) func(model string) *limit.Limiter {
	shares := limit.NewShares("fields", clients.Divide(cfg.Clients, cfg.Limits.Versions, cfg.Baselines.Fields.MaxTotal, nil), limiter)
	owners := clients.New(cfg.AllowedModels, cfg.Clients, cfg.Limits.Models, cfg.Limits.Versions, limiter)
	return func(model string) *limit.Limiter {
		if owners == nil {
			return shares.Of("")
		}
		return shares.Of(owners.Client(model))
	}
}
