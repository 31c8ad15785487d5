package metering

import (
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// maxPrompts limits the prompt versions, and maxProviders the providers, of all models.
const (
	maxPrompts   = 500
	maxProviders = 50
)

// infos counts the requests of a hosted model's version by provider and by prompt.
type infos struct {
	providers, prompts detail[int64]
}

// promptSeparator separates the name of a prompt from its version.
const promptSeparator = "\x1f"

// count counts a request by its provider and its prompt.
func (i *infos) count(s *Series, o *convention.HostedCall) {
	if o.Provider != "" {
		*i.providers.get(s, o.Provider, (*share).providerNames)++
	}
	if o.Prompt != "" || o.PromptVersion != "" {
		*i.prompts.get(s, o.Prompt+promptSeparator+o.PromptVersion, (*share).promptNames)++
	}
}

func (i *infos) readmit(s *Series, b *bounds) {
	i.providers.readmit(s, b, (*share).providerNames)
	i.prompts.readmit(s, b, (*share).promptNames)
}

func (i *infos) collect(s *Series, d *descs, out *exporter.Metrics) {
	i.providers.each(func(name string, n *int64) {
		out.Counter(d.providers, float64(*n), s.Model, s.Version, name)
	})
	i.prompts.each(func(name string, n *int64) {
		prompt, version, ok := strings.Cut(name, promptSeparator)
		if !ok {
			prompt, version = limit.Other, limit.Other
		}
		out.Counter(d.prompts, float64(*n), s.Model, s.Version, prompt, version)
	})
}

func (s *share) providerNames() *limit.Limiter { return s.providers }
func (s *share) promptNames() *limit.Limiter   { return s.prompts }
