package cost

import (
	"fmt"
	"path"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fx"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/metering"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
)

// MeteringConfig configures how usage that Prometheus measured is priced.
type MeteringConfig struct {
	// Prometheus is the URL of the server, or of one with the same API.
	Prometheus string              `yaml:"prometheus"`
	Token      config.SecretSource `yaml:"bearer_token,omitempty"`
	// HTTPClient has credentials, TLS, proxy and headers as in Prometheus's http_config. Secrets come only from files.
	HTTPClient config.Raw `yaml:"http_client,omitempty"`
	// Step is the interval in which usage is priced. Lag is the time after its end until it is complete in Prometheus.
	Step    config.Duration `yaml:"step"`
	Lag     config.Duration `yaml:"lag"`
	Timeout config.Duration `yaml:"timeout"`
	// CatchUp is the age up to which missed intervals are priced after an outage.
	CatchUp config.Duration `yaml:"catch_up"`
	// Queries replace the built-in queries.
	Queries metering.Queries `yaml:"queries,omitempty"`
	// Holders map the holder of a GPU to a department and a model. The first rule that matches decides.
	Holders []HolderConfig `yaml:"holders,omitempty"`
	// Models map a model to the department that pays for its requests and tokens.
	Models []ModelConfig `yaml:"models,omitempty"`
	// Aliases map a name to the model whose price applies.
	Aliases map[string]string `yaml:"aliases,omitempty"`
	// Resources are other resources with a price, each with its own query.
	Resources []ResourceConfig `yaml:"resources,omitempty"`
	// Gateway configures how a gateway's own spend counts.
	Gateway GatewayConfig `yaml:"gateway"`
	// Loaded is how cost that belongs to no model is divided among models: usage, allocation or none.
	Loaded metering.Weight `yaml:"loaded"`
	// Values are the values of an inference, by model.
	Values []ValueConfig `yaml:"values,omitempty"`
	// MaxSeries is the maximum number of spend counters.
	MaxSeries int `yaml:"max_series"`

	client promconfig.HTTPClientConfig
}

// SetDefaults implements config.Defaulter.
func (m *MeteringConfig) SetDefaults() {
	m.Step, m.Lag, m.Timeout = config.Duration(5*time.Minute), config.Duration(2*time.Minute), config.Duration(30*time.Second)
	m.CatchUp, m.MaxSeries, m.Loaded = config.Duration(7*24*time.Hour), 2000, metering.ByUsage
}

// Validate implements config.Validator.
func (m *MeteringConfig) Validate(at config.At) {
	at.CheckURL("prometheus", m.Prometheus)
	m.client = httpclient.Check(m.HTTPClient, at, "bearer_token", m.Token != (config.SecretSource{}))
	for i, h := range m.Holders {
		if err := h.holder().Validate(); err != nil {
			at.Errorf(fmt.Sprintf("holders[%d]", i), "%v; want every [ closed by a ]", err)
		}
	}
	for i, v := range m.Models {
		checkGlob(at, fmt.Sprintf("models[%d].model", i), v.Model)
	}
	for i, v := range m.Values {
		checkGlob(at, fmt.Sprintf("values[%d].model", i), v.Model)
	}
	if m.Step < config.Duration(time.Second) || m.Lag < 0 || m.Timeout < config.Duration(time.Second) || m.CatchUp < m.Step {
		at.Errorf("", "want step and timeout of 1s or more, lag of 0s or more, and catch_up no shorter than step")
	}
	switch m.Loaded {
	case metering.ByUsage, metering.ByAllocation, metering.NotAtAll:
	default:
		at.Errorf("loaded", "%q; want usage, allocation or none", string(m.Loaded))
	}
	if m.MaxSeries < 1 {
		at.Errorf("max_series", "%d; want 1 or more", m.MaxSeries)
	}
}

// HolderConfig maps GPUs to a department and a model by their holder. An empty glob matches everything.
type HolderConfig struct {
	Namespace  string `yaml:"namespace,omitempty"`
	Pod        string `yaml:"pod,omitempty"`
	Container  string `yaml:"container,omitempty"`
	SlurmJob   string `yaml:"slurm_job,omitempty"`
	Unit       string `yaml:"unit,omitempty"`
	Node       string `yaml:"node,omitempty"`
	Department string `yaml:"department,omitempty"`
	Model      string `yaml:"model,omitempty"`
}

func (h HolderConfig) holder() metering.Holder {
	return metering.Holder{
		Namespace: h.Namespace, Pod: h.Pod, Container: h.Container, SlurmJob: h.SlurmJob, Unit: h.Unit, Node: h.Node,
		Owner: metering.Owner{Department: h.Department, Model: h.Model},
	}
}

func checkGlob(at config.At, key, glob string) {
	if _, err := path.Match(glob, ""); err != nil {
		at.Errorf(key, "%q is no glob; want every [ closed by a ]", glob)
	}
}

// ModelConfig maps a model to a department, and sets the tier of the price list that applies.
type ModelConfig struct {
	Model      string `yaml:"model"`
	Department string `yaml:"department,omitempty"`
	Tier       string `yaml:"tier,omitempty"`
}

// GatewayConfig configures how a gateway's own spend counts: for models without a price here, or for all models if it
// is preferred.
type GatewayConfig struct {
	Currency string `yaml:"currency"`
	Prefer   bool   `yaml:"prefer,omitempty"`
}

// SetDefaults implements config.Defaulter. Gateways report spend in the currency of their price lists.
func (g *GatewayConfig) SetDefaults() { g.Currency = "USD" }

// Validate implements config.Validator.
func (g *GatewayConfig) Validate(at config.At) {
	if !fx.ISO(g.Currency) {
		at.Errorf("currency", "%q; want an ISO 4217 code", g.Currency)
	}
}

// ResourceConfig is a resource with its own price, such as a core-hour.
type ResourceConfig struct {
	Name string `yaml:"name"`
	// Query returns the units in use at one moment. Its labels department and model, if it has them, are the user of
	// the units.
	Query string `yaml:"query"`
	// Price is the price of one unit for one hour.
	Price    float64 `yaml:"price_per_hour"`
	Currency string  `yaml:"currency"`
	// Counts is observability or infrastructure. It is for the share of observability in both.
	Counts string `yaml:"counts_as"`
}

// SetDefaults implements config.Defaulter.
func (r *ResourceConfig) SetDefaults() { r.Currency, r.Counts = fx.CAD, "infrastructure" }

// Validate implements config.Validator.
func (r *ResourceConfig) Validate(at config.At) {
	if r.Name == "" || r.Query == "" {
		at.Errorf("", "want a name and a query")
	}
	if r.Counts != "infrastructure" && r.Counts != "observability" {
		at.Errorf("counts_as", "%q; want infrastructure or observability", r.Counts)
	}
	if !fx.ISO(r.Currency) || !(r.Price >= 0) {
		at.Errorf("price_per_hour", "%v %s; want a number of 0 or more, and an ISO 4217 code", r.Price, r.Currency)
	}
}

// ValueConfig is the value of one successful inference of a model.
type ValueConfig struct {
	Model string  `yaml:"model"`
	CAD   float64 `yaml:"cad_per_inference"`
}
