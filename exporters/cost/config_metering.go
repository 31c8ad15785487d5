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

// MeteringConfig prices what Prometheus measured.
type MeteringConfig struct {
	// Prometheus is the URL of the server, or of one that answers as it does.
	Prometheus string              `yaml:"prometheus"`
	Token      config.SecretSource `yaml:"bearer_token,omitempty"`
	// HTTPClient is credentials, TLS, proxy and headers in Prometheus's form (http_config); secrets by file only.
	HTTPClient config.Raw `yaml:"http_client,omitempty"`
	// Step is the interval that usage is priced by; Lag how long after its end it is complete in Prometheus.
	Step    config.Duration `yaml:"step"`
	Lag     config.Duration `yaml:"lag"`
	Timeout config.Duration `yaml:"timeout"`
	// CatchUp is how far back an outage is made good for.
	CatchUp config.Duration `yaml:"catch_up"`
	// Queries replace the built-in ones.
	Queries metering.Queries `yaml:"queries,omitempty"`
	// Holders say whose a GPU's holder is; the first rule that matches decides.
	Holders []HolderConfig `yaml:"holders,omitempty"`
	// Models say whose a model's requests and tokens are.
	Models []ModelConfig `yaml:"models,omitempty"`
	// Aliases say which model a name stands for, by which its price is found.
	Aliases map[string]string `yaml:"aliases,omitempty"`
	// Resources are further things with a price, by their own query.
	Resources []ResourceConfig `yaml:"resources,omitempty"`
	// Gateway says how a gateway's own spend counts.
	Gateway GatewayConfig `yaml:"gateway"`
	// Loaded says how money that no model explains is divided among models: usage, allocation or none.
	Loaded metering.Weight `yaml:"loaded"`
	// Values say what an inference is worth.
	Values []ValueConfig `yaml:"values,omitempty"`
	// MaxSeries bounds the counters of spend.
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

// HolderConfig gives GPUs to a department and a model by who holds them. Globs that are empty match all.
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

// ModelConfig gives a model to a department, and says at which of the prices in a list it is bought.
type ModelConfig struct {
	Model      string `yaml:"model"`
	Department string `yaml:"department,omitempty"`
	Tier       string `yaml:"tier,omitempty"`
}

// GatewayConfig says how a gateway's own spend counts: for models without a price here, or where it is preferred for all.
type GatewayConfig struct {
	Currency string `yaml:"currency"`
	Prefer   bool   `yaml:"prefer,omitempty"`
}

// SetDefaults implements config.Defaulter. Gateways count in the currency of their price lists.
func (g *GatewayConfig) SetDefaults() { g.Currency = "USD" }

// Validate implements config.Validator.
func (g *GatewayConfig) Validate(at config.At) {
	if !fx.ISO(g.Currency) {
		at.Errorf("currency", "%q; want an ISO 4217 code", g.Currency)
	}
}

// ResourceConfig is something with a price of its own, such as a core-hour.
type ResourceConfig struct {
	Name string `yaml:"name"`
	// Query gives the units that are used at a moment; its labels department and model, where it has them, say by whom.
	Query string `yaml:"query"`
	// Price is that of one unit for one hour.
	Price    float64 `yaml:"price_per_hour"`
	Currency string  `yaml:"currency"`
	// Counts is observability or infrastructure, for the share of the former in both.
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

// ValueConfig is what one successful inference of a model is worth.
type ValueConfig struct {
	Model string  `yaml:"model"`
	CAD   float64 `yaml:"cad_per_inference"`
}
