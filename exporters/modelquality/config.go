package modelquality

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/clients"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/content"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Config is the configuration file of the exporter. It is optional: the defaults receive OTLP and count inferences.
type Config struct {
	config.Doc `yaml:"-"`

	OTLP OTLPConfig `yaml:"otlp"`
	// AllowedModels are patterns of the models that are counted by name; empty allows all. Clients defines which models each authenticated
	// client may send.
	AllowedModels []string                  `yaml:"allowed_models,omitempty"`
	Clients       map[string]clients.Config `yaml:"clients,omitempty"`
	// Attributes are the names of the span attributes that the exporter reads.
	Attributes convention.Names `yaml:"attributes"`
	Texts      TextsConfig      `yaml:"texts"`
	Limits     metering.Limits  `yaml:"limits"`
	// ForgetAfter is the time after which a version without inferences loses its series.
	ForgetAfter config.Duration `yaml:"forget_after"`
	Join        JoinConfig      `yaml:"join"`
	// LowConfidence is the limit below which an inference's trace is published as an example.
	LowConfidence float64 `yaml:"low_confidence"`
	// Evaluations are the gates by the name of the evaluation.
	Evaluations map[string]GateConfig `yaml:"evaluations"`
	// Models are the settings of single models.
	Models []ModelConfig `yaml:"models"`

	// Sources are the databases by name.
	Sources map[string]tables.Config `yaml:"sources"`
	// BaselineStore is a folder, or an object store that all replicas share. Without it, fields have no bins.
	BaselineStore baseline.Config `yaml:"baseline_store"`
	Baselines     BaselinesConfig `yaml:"baselines"`
	// Causes configures the search for probable causes in recent inferences.
	Causes CausesConfig `yaml:"causes"`

	// MLflow is the registry that links a version to the run that trained it.
	MLflow *MLflowConfig `yaml:"mlflow,omitempty"`
	// Reviews is the responder that receives responses below a gate for human review.
	Reviews *ReviewsConfig `yaml:"reviews,omitempty"`
	// Labels are tables of predictions with their true labels.
	Labels []LabelsConfig `yaml:"labels,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() {
	c.ForgetAfter = config.Duration(7 * 24 * time.Hour)
	c.LowConfidence = 0.5
}

// OTLPConfig configures the receiver.
type OTLPConfig struct {
	// GRPC and HTTP are listen addresses; "off" disables one.
	GRPC string `yaml:"grpc"`
	HTTP string `yaml:"http"`
	// WebConfigFile configures TLS and users. The default is the file of --web.config.file.
	WebConfigFile config.Path `yaml:"web_config_file,omitempty"`
	// MaxRequestBytes limits the size of a request, both compressed and uncompressed.
	MaxRequestBytes config.Bytes `yaml:"max_request_bytes"`
	// MaxJSONMemory limits the memory of all JSON requests that are decoded at the same time.
	MaxJSONMemory config.Bytes `yaml:"max_json_memory"`
	// MaxConcurrentRequests limits the requests that are processed at the same time.
	MaxConcurrentRequests int `yaml:"max_concurrent_requests"`
	// MaxAttributes limits the features of one span. Attributes without a meaning are skipped and do not count.
	MaxAttributes int `yaml:"max_attributes"`
}

// SetDefaults implements config.Defaulter.
func (o *OTLPConfig) SetDefaults() {
	// Loopback only, as in the OpenTelemetry Collector's receiver: every client that can send spans can create models.
	o.GRPC, o.HTTP = "localhost:4317", "localhost:4318"
	o.MaxRequestBytes, o.MaxConcurrentRequests, o.MaxAttributes = 32<<20, 32, 512
	o.MaxJSONMemory = 256 << 20
}

// Validate implements config.Validator.
func (o *OTLPConfig) Validate(at config.At) {
	if o.MaxRequestBytes < 1<<10 || o.MaxRequestBytes > 1<<30 {
		at.Errorf("max_request_bytes", "%v; want 1KiB to 1GiB", o.MaxRequestBytes)
	}
	if o.MaxJSONMemory < 1<<20 || o.MaxJSONMemory > 16<<30 {
		at.Errorf("max_json_memory", "%v; want 1MiB to 16GiB", o.MaxJSONMemory)
	}
	for key, n := range sorted(map[string]int{"max_concurrent_requests": o.MaxConcurrentRequests, "max_attributes": o.MaxAttributes}) {
		if n < 1 || n > 10_000 {
			at.Errorf(key, "%d; want 1 to 10000", n)
		}
	}
	if err := web.Validate(string(o.WebConfigFile)); err != nil {
		at.Errorf("web_config_file", "%s: %v", o.WebConfigFile, err)
	}
	for key, address := range sorted(map[string]string{"grpc": o.GRPC, "http": o.HTTP}) {
		if address != off {
			at.CheckListen(key, address)
		}
	}
	if o.GRPC == off && o.HTTP == off {
		at.Errorf("", "both grpc and http are off; want at least one address")
	}
}

const off = "off"

// address returns the listen address, or "" if it is off.
func address(s string) string {
	if s == off {
		return ""
	}
	return s
}

// TextsConfig enables measurements of the texts of language models. The texts themselves are never stored.
type TextsConfig struct {
	Enabled bool `yaml:"enabled"`
	// Refusals are beginnings of refusals, in addition to the built-in English ones.
	Refusals []string `yaml:"refusals,omitempty"`
}

// Validate implements config.Validator.
func (t *TextsConfig) Validate(at config.At) {
	for i, s := range t.Refusals {
		if strings.TrimSpace(s) != s || s == "" || len(s) > content.MaxRefusal {
			at.Errorf("refusals["+strconv.Itoa(i)+"]", "%q; want how an answer begins, 1 to %d bytes without blanks around", s, content.MaxRefusal)
		}
	}
	if len(t.Refusals) > maxRefusals {
		at.Errorf("refusals", "%d texts; want %d or fewer", len(t.Refusals), maxRefusals)
	}
}

const maxRefusals = 200

// reader returns nil if texts are not measured.
func (t *TextsConfig) reader() *content.Reader {
	if !t.Enabled {
		return nil
	}
	return content.New(t.Refusals)
}

// JoinConfig limits the memory that joins nested spans and evaluations to inferences.
type JoinConfig struct {
	Wait config.Duration `yaml:"wait"`
	// Inferences is the number of inferences that are remembered. Waiting is the number of nested spans and evaluations that wait for
	// theirs.
	Inferences int `yaml:"inferences"`
	Waiting    int `yaml:"waiting"`
}

// SetDefaults implements config.Defaulter.
func (j *JoinConfig) SetDefaults() {
	j.Wait, j.Inferences, j.Waiting = config.Duration(30*time.Second), 32_768, 10_000
}

// Validate implements config.Validator.
func (j *JoinConfig) Validate(at config.At) {
	if j.Wait <= 0 {
		at.Errorf("wait", "%v; want a duration above 0", j.Wait)
	}
	for key, n := range sorted(map[string]int{"inferences": j.Inferences, "waiting": j.Waiting}) {
		if n < 1 || n > 1<<20 {
			at.Errorf(key, "%d; want 1 to %d", n, 1<<20)
		}
	}
}

// groundedness always has a gate, even if the configuration defines only others.
const groundedness = "groundedness"

func newGate(gate float64) GateConfig {
	var g GateConfig
	g.SetDefaults()
	g.Gate = gate
	return g
}

// maxExcerpt limits the length of an excerpt, maxRedactions the time to redact it.
const (
	maxExcerpt    = 10_000
	maxRedactions = 50
)

// Validate implements config.Validator. It checks references between sections.
func (c *Config) Validate(at config.At) {
	if _, err := convention.New(c.Attributes, c.OTLP.MaxAttributes, c.Texts.reader()); err != nil {
		at.Errorf("attributes", "%v", err)
	}
	for key, n := range sorted(map[string]int{
		"models": c.Limits.Models, "versions": c.Limits.Versions, "exception_types": c.Limits.ExceptionTypes,
		"features": c.Limits.Features, "evaluations": c.Limits.Evaluations, "steps": c.Limits.Steps, "details": c.Limits.Details,
	}) {
		if n < 0 || n > 100_000 {
			at.Errorf("limits."+key, "%d; want 0 to 100000", n)
		}
	}
	clients.CheckPatterns(at, "allowed_models", c.AllowedModels)
	var models, versions int
	for _, client := range c.Clients {
		models, versions = models+client.MaxModels, versions+client.MaxVersions
	}
	if models > c.Limits.Models || versions > c.Limits.Versions {
		at.Errorf("clients", "together they may have %d models and %d versions, and limits.models is %d and limits.versions %d; want these as high or higher", models, versions, c.Limits.Models, c.Limits.Versions)
	}
	if rest := clients.Divide(c.Clients, c.Limits.Versions, c.Limits.Details, clients.Details)[""]; len(c.Clients) > 0 && rest < 0 {
		at.Errorf("clients", "together they may have %d details, and limits.details is %d; want this as high or higher", c.Limits.Details-rest, c.Limits.Details)
	}
	if c.Reviews != nil && c.Reviews.Excerpts.Characters > 0 && !c.Texts.Enabled {
		at.Errorf("reviews.excerpts", "texts are not read; want texts.enabled: true as well")
	}
	if c.ForgetAfter < config.Duration(time.Minute) {
		at.Errorf("forget_after", "%v; want 1m or more", c.ForgetAfter)
	}
	if c.LowConfidence < 0 || c.LowConfidence > 1 {
		at.Errorf("low_confidence", "%v; want a ratio from 0 to 1", c.LowConfidence)
	}
	if _, ok := c.Evaluations[groundedness]; !ok {
		if c.Evaluations == nil {
			c.Evaluations = make(map[string]GateConfig)
		}
		c.Evaluations[groundedness] = newGate(0.9)
	}
	for name := range sorted(c.Evaluations) {
		if name != strings.ToLower(name) {
			at.Errorf("evaluations", "%q has upper case, which evaluations are matched without; want %q", name, strings.ToLower(name))
		}
	}
	type version struct{ name, version string }
	seen := make(map[version]int)
	for i, m := range c.Models {
		key := "models[" + strconv.Itoa(i) + "]"
		if first, twice := seen[version{m.Name, m.Version}]; twice {
			at.Errorf(key+".name", "%q is also models[%d]; want each model and version once", m.Name, first)
		}
		seen[version{m.Name, m.Version}] = i
		if m.Training == nil {
			continue
		}
		if c.BaselineStore.Type == "" {
			at.Errorf(key+".training", "without baseline_store there is nowhere to keep the bins; want both or neither")
		}
		m.Training.CheckSource(at, key+".training.source", c.Sources)
	}
	names := make(map[string]int)
	for i, l := range c.Labels {
		key := "labels[" + strconv.Itoa(i) + "]"
		if first, twice := names[l.Name]; twice {
			at.Errorf(key+".name", "%q is also the name of labels[%d]; want different names", l.Name, first)
		}
		names[l.Name] = i
		l.CheckSource(at, key+".source", c.Sources)
	}
}

// sorted iterates over a map in the order of its keys, so that the same file always gives the same messages.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
