package modelquality

import (
	"iter"
	"maps"
	"math"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/clients"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/content"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
	"github.com/sightglass-ml/sightglass/internal/owner"
	"github.com/sightglass-ml/sightglass/internal/reveal"
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

// ModelConfig has the settings of one model, or of one version of it.
type ModelConfig struct {
	Name string `yaml:"name"`
	// Version is empty if the settings apply to all versions.
	Version string `yaml:"version,omitempty"`
	// Owned has the owner and the additional labels of the model's alerts.
	owner.Owned `yaml:",inline"`
	Thresholds  ThresholdsConfig `yaml:"thresholds"`
	Training    *TrainingConfig  `yaml:"training,omitempty"`
	// Datasets are the datasets that the model is trained on or served from. While one is broken, the model is not retrained.
	Datasets []DatasetLink `yaml:"datasets,omitempty"`
}

// Validate implements config.Validator.
func (m *ModelConfig) Validate(at config.At) {
	if m.Name == "" {
		at.Errorf("name", "missing; want the name of the model, the value of its label model")
	}
	if m.Version != "" && at.Has("thresholds") {
		at.Errorf("thresholds", "they hold for a model, whatever its version; want them without version")
	}
	m.Owned.Validate(at)
	for _, key := range []string{"owner", "labels"} {
		if m.Version != "" && at.Has(key) {
			at.Errorf(key, "it belongs to a model, whatever its version; want it without version")
		}
	}
	if m.Version != "" && len(m.Datasets) > 0 {
		at.Errorf("datasets", "they belong to a model, whatever its version; want them without version")
	}
}

// TrainingConfig is the data that a model was trained on. A column has the name of its feature.
type TrainingConfig struct {
	tables.Location `yaml:",inline"`
	// PredictionColumn and ConfidenceColumn hold the model's outputs for the training data; optional.
	PredictionColumn string `yaml:"prediction_column,omitempty"`
	ConfidenceColumn string `yaml:"confidence_column,omitempty"`
}

// MLflowConfig configures the connection to the registry.
type MLflowConfig struct {
	URL string `yaml:"url"`
	// Token is a bearer token; Username and Password are for basic authentication.
	Token    config.SecretSource `yaml:"token,omitempty"`
	Username string              `yaml:"username,omitempty"`
	Password config.SecretSource `yaml:"password,omitempty"`
	// HTTPClient has credentials, TLS, proxy and headers in the format of Prometheus's http_config; secrets only from files.
	HTTPClient config.Raw `yaml:"http_client,omitempty"`
	// Aliases select the version of a service that reports none, in order of preference.
	Aliases           []string        `yaml:"aliases"`
	Refresh           config.Duration `yaml:"refresh"`
	RetryMissing      config.Duration `yaml:"retry_missing"`
	Timeout           config.Duration `yaml:"timeout"`
	RequestsPerSecond float64         `yaml:"requests_per_second"`
	// WriteBack sets tags on the run: when its version was first served, and a link made from the template TraceLink.
	WriteBack bool   `yaml:"write_back"`
	TraceLink string `yaml:"trace_link,omitempty"`
	// Datasets configures which datasets of runs are read as training data.
	Datasets DatasetsConfig `yaml:"datasets"`
	// Assessments configures which experiments' traces are read for evaluations of responses.
	Assessments AssessmentsConfig `yaml:"assessments"`

	client promconfig.HTTPClientConfig
}

// AssessmentsConfig configures the experiments whose assessments are read; by default none.
type AssessmentsConfig struct {
	Experiments []ExperimentConfig `yaml:"experiments,omitempty"`
	Interval    config.Duration    `yaml:"interval"`
	// Timeout limits one pull of all experiments.
	Timeout config.Duration `yaml:"timeout"`
	// Lookback is the maximum age of a trace whose assessments are read.
	Lookback config.Duration `yaml:"lookback"`
	// File stores the cursor; by default "assessments.json" in $STATE_DIRECTORY. Without a file, assessments written while the exporter is
	// down are lost.
	File config.Path `yaml:"file,omitempty"`
}

// ExperimentConfig is one MLflow experiment.
type ExperimentConfig struct {
	// ID and Name: exactly one is set.
	ID   string `yaml:"id,omitempty"`
	Name string `yaml:"name,omitempty"`
	// Model is used if the exporter does not receive the spans of a trace.
	Model string `yaml:"model,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (a *AssessmentsConfig) SetDefaults() {
	a.Interval, a.Timeout, a.Lookback = config.Duration(time.Minute), config.Duration(time.Minute), config.Duration(24*time.Hour)
}

// maxExperiments limits the requests of one pull.
const maxExperiments = 100

// Validate implements config.Validator.
func (a *AssessmentsConfig) Validate(at config.At) {
	for key, d := range sorted(map[string]config.Duration{"interval": a.Interval, "timeout": a.Timeout, "lookback": a.Lookback}) {
		if d < config.Duration(time.Second) || d > config.Duration(30*24*time.Hour) {
			at.Errorf(key, "%v; want 1s to 30d", d)
		}
	}
	if len(a.Experiments) > maxExperiments {
		at.Errorf("experiments", "%d experiments; want %d or fewer", len(a.Experiments), maxExperiments)
	}
	for i, e := range a.Experiments {
		if (e.ID == "") == (e.Name == "") {
			at.Errorf("experiments["+strconv.Itoa(i)+"]", "id %q and name %q; want one of the two", e.ID, e.Name)
		}
	}
	if a.File == "" && len(a.Experiments) > 0 && at.HasState() {
		a.File = config.Path(at.State("file", "assessments.json"))
	}
	if a.File != "" {
		at.CheckFolder("file", filepath.Dir(string(a.File)))
	}
}

// SetDefaults implements config.Defaulter.
func (m *MLflowConfig) SetDefaults() {
	m.Aliases = []string{"champion", "production"}
	m.Refresh, m.RetryMissing, m.Timeout = config.Duration(5*time.Minute), config.Duration(time.Minute), config.Duration(10*time.Second)
	m.RequestsPerSecond = 5
}

// Validate implements config.Validator.
func (m *MLflowConfig) Validate(at config.At) {
	at.CheckURL("url", m.URL)
	if at.Has("token") && m.Username != "" {
		at.Errorf("token", "there is a user name as well; want one of the two")
	}
	credentials := "token"
	if m.Username != "" {
		credentials = "username"
	}
	m.client = httpclient.Check(m.HTTPClient, at, credentials, at.Has("token") || m.Username != "")
	for key, d := range sorted(map[string]config.Duration{"refresh": m.Refresh, "retry_missing": m.RetryMissing, "timeout": m.Timeout}) {
		if d <= 0 {
			at.Errorf(key, "%v; want a duration above 0", d)
		}
	}
	if !(m.RequestsPerSecond > 0) {
		at.Errorf("requests_per_second", "%v; want a number above 0", m.RequestsPerSecond)
	}
	if _, err := template.New("trace_link").Parse(m.TraceLink); err != nil {
		at.Errorf("trace_link", "%v", err)
	}
}

// DatasetsConfig lists what may be read of the datasets that runs refer to; by default nothing.
type DatasetsConfig struct {
	// Folders are the folders from which local files may be read.
	Folders []config.Path `yaml:"folders,omitempty"`
	// Artifacts allows files that the MLflow server stores.
	Artifacts bool `yaml:"artifacts"`
	// Hosts may be requested over HTTP, without the token of the MLflow server.
	Hosts   []string       `yaml:"hosts,omitempty"`
	Buckets []BucketConfig `yaml:"buckets,omitempty"`
	// MaxBytes and Timeout limit a download. The file is in TempDirectory until it has been read.
	MaxBytes      config.Bytes    `yaml:"max_bytes"`
	Timeout       config.Duration `yaml:"timeout"`
	TempDirectory config.Path     `yaml:"temp_directory,omitempty"`
}

// BucketConfig is an object store from which objects may be read.
type BucketConfig struct {
	// URI is the prefix of the sources in this bucket, such as s3://training-data.
	URI             string `yaml:"uri"`
	baseline.Config `yaml:",inline"`
}

// SetDefaults implements config.Defaulter.
func (d *DatasetsConfig) SetDefaults() {
	d.MaxBytes, d.Timeout = 1<<30, config.Duration(2*time.Minute)
}

// any reports whether reading is allowed from anywhere.
func (d *DatasetsConfig) any() bool {
	return len(d.Folders) > 0 || d.Artifacts || len(d.Hosts) > 0 || len(d.Buckets) > 0
}

// Validate implements config.Validator.
func (d *DatasetsConfig) Validate(at config.At) {
	for i, f := range d.Folders {
		at.CheckFolder("folders["+strconv.Itoa(i)+"]", string(f))
	}
	for i, h := range d.Hosts {
		u, err := url.Parse("https://" + h)
		if err != nil || u.Hostname() == "" || u.Host != h || h != strings.ToLower(h) || strings.HasSuffix(h, ":") {
			at.Errorf("hosts["+strconv.Itoa(i)+"]", "%q; want the name of a host in lower case, and its port if that is not the usual one", h)
		}
	}
	if d.MaxBytes < 1 {
		at.Errorf("max_bytes", "%v; want 1B or more", d.MaxBytes)
	}
	if d.Timeout <= 0 || d.Timeout > config.Duration(fieldsTimeout/2) {
		at.Errorf("timeout", "%v; want a duration above 0s, up to %v", d.Timeout, config.Duration(fieldsTimeout/2))
	}
}

// Validate implements config.Validator.
func (b *BucketConfig) Validate(at config.At) {
	u, err := url.Parse(b.URI)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme == "http" || u.Scheme == "https" || strings.HasSuffix(b.URI, "/") {
		at.Errorf("uri", "%q; want how the sources in the bucket begin, such as s3://training-data", b.URI)
	}
	if b.Type == "" {
		at.Errorf("type", "missing; want FILESYSTEM, S3, GCS, AZURE or another provider of objstore")
		return
	}
	b.Config.Validate(at)
}

// ReviewsConfig configures where responses for human review are sent.
type ReviewsConfig struct {
	// URL is the base URL of the responder, or of any server that accepts POST requests to /api/v1/reviews.
	URL   string              `yaml:"url"`
	Token config.SecretSource `yaml:"token,omitempty"`
	// HTTPClient has credentials, TLS, proxy and headers in the format of Prometheus's http_config; secrets only from files.
	HTTPClient config.Raw `yaml:"http_client,omitempty"`
	// File is the outbox of undelivered reviews: by default "reviews.db" in $STATE_DIRECTORY, otherwise next to the configuration. Each
	// replica needs its own file.
	File       config.Path     `yaml:"file,omitempty"`
	MaxBytes   config.Bytes    `yaml:"max_bytes"`
	Timeout    config.Duration `yaml:"timeout"`
	MaxBackoff config.Duration `yaml:"max_backoff"`
	// Excerpts configures excerpts of answers in reviews; by default there are none.
	Excerpts ExcerptsConfig `yaml:"excerpts"`

	client promconfig.HTTPClientConfig
}

// ExcerptsConfig defines which part of an answer a review contains.
type ExcerptsConfig struct {
	// Characters is the maximum length; 0 disables excerpts.
	Characters int `yaml:"characters"`
	// Redact are regular expressions of text to remove, in addition to e-mail addresses, long numbers and tokens.
	Redact []string `yaml:"redact,omitempty"`
}

// maxExcerpt limits the length of an excerpt, maxRedactions the time to redact it.
const (
	maxExcerpt    = 10_000
	maxRedactions = 50
)

// Validate implements config.Validator.
func (e *ExcerptsConfig) Validate(at config.At) {
	if e.Characters < 0 || e.Characters > maxExcerpt {
		at.Errorf("characters", "%d; want 1 to %d, or 0 for none", e.Characters, maxExcerpt)
	}
	if len(e.Redact) > maxRedactions {
		at.Errorf("redact", "%d expressions; want %d or fewer", len(e.Redact), maxRedactions)
	}
	for i, s := range e.Redact {
		if _, err := content.NewExcerpts(0, []string{s}); err != nil {
			at.Errorf("redact["+strconv.Itoa(i)+"]", "%v", err)
		}
	}
}

// excerpts returns nil if reviews have no excerpts.
func (c *Config) excerpts() (*content.Excerpts, error) {
	if c.Reviews == nil || c.Reviews.Excerpts.Characters == 0 {
		return nil, nil
	}
	return content.NewExcerpts(c.Reviews.Excerpts.Characters, c.Reviews.Excerpts.Redact)
}

// SetDefaults implements config.Defaulter.
func (r *ReviewsConfig) SetDefaults() {
	r.MaxBytes, r.Timeout, r.MaxBackoff = 256<<20, config.Duration(10*time.Second), config.Duration(5*time.Minute)
}

// Validate implements config.Validator.
func (r *ReviewsConfig) Validate(at config.At) {
	at.CheckURL("url", r.URL)
	r.client = httpclient.Check(r.HTTPClient, at, "token", at.Has("token"))
	if r.File == "" {
		r.File = config.Path(at.State("file", "reviews.db"))
	}
	if r.MaxBytes < 1<<20 {
		at.Errorf("max_bytes", "%v; want 1MiB or more", r.MaxBytes)
	}
	for key, d := range sorted(map[string]config.Duration{"timeout": r.Timeout, "max_backoff": r.MaxBackoff}) {
		if d < config.Duration(minBackoff) {
			at.Errorf(key, "%v; want 1s or more", d)
		}
	}
}

// minBackoff is the shortest time before a review is sent again.
const minBackoff = time.Second

// LabelsConfig is a table of predictions with their true labels.
type LabelsConfig struct {
	Name            string `yaml:"name"`
	tables.Location `yaml:",inline"`
	// TimeColumn is the time of the prediction, LabelTimeColumn the time at which the label became known.
	TimeColumn       string `yaml:"timestamp_column"`
	LabelTimeColumn  string `yaml:"label_timestamp_column,omitempty"`
	PredictionColumn string `yaml:"prediction_column"`
	LabelColumn      string `yaml:"label_column"`
	SegmentColumn    string `yaml:"segment_column,omitempty"`
	// ConfidenceColumn is the model's confidence, 0 to 1. The estimated performance of a classifier needs it.
	ConfidenceColumn string `yaml:"confidence_column,omitempty"`
	// PredictionBins are the upper bounds of the bins of numeric predictions. The estimated error needs them.
	PredictionBins []float64 `yaml:"prediction_bins,omitempty"`
	// SegmentFeature is the feature of spans that holds the segment. Without it, performance is not estimated by segment.
	SegmentFeature string `yaml:"segment_feature,omitempty"`
	// Model and Version are fixed values; ModelColumn and VersionColumn are columns instead.
	Model         string `yaml:"model,omitempty"`
	Version       string `yaml:"version,omitempty"`
	ModelColumn   string `yaml:"model_column,omitempty"`
	VersionColumn string `yaml:"version_column,omitempty"`
	// Numeric means that predictions are quantities instead of classes.
	Numeric  bool            `yaml:"numeric"`
	Window   config.Duration `yaml:"window"`
	Interval config.Duration `yaml:"interval"`
	Timeout  config.Duration `yaml:"timeout"`
	// MaxSegments and MaxClasses limit the label values.
	MaxSegments int `yaml:"max_segments"`
	MaxClasses  int `yaml:"max_classes"`
}

// SetDefaults implements config.Defaulter.
func (l *LabelsConfig) SetDefaults() {
	l.Window, l.Interval, l.Timeout = config.Duration(7*24*time.Hour), config.Duration(5*time.Minute), config.Duration(2*time.Minute)
	l.MaxSegments, l.MaxClasses = 20, 20
}

// Validate implements config.Validator.
func (l *LabelsConfig) Validate(at config.At) {
	l.Location.Validate(at)
	for _, required := range [][2]string{
		{"name", l.Name}, {"timestamp_column", l.TimeColumn}, {"prediction_column", l.PredictionColumn}, {"label_column", l.LabelColumn},
	} {
		if required[1] == "" {
			at.Errorf(required[0], "missing")
		}
	}
	if l.Model == "" && l.ModelColumn == "" {
		at.Errorf("model", "missing; want the name of the model, or model_column")
	}
	if l.ConfidenceColumn != "" && l.Numeric {
		at.Errorf("confidence_column", "%q; want none where numeric is true: the confidence is that of a class", l.ConfidenceColumn)
	}
	if len(l.PredictionBins) > 0 && !l.Numeric {
		at.Errorf("prediction_bins", "%v; want none unless numeric is true: classes are counted by their confidence", l.PredictionBins)
	}
	if len(l.PredictionBins) > maxPredictionBins {
		at.Errorf("prediction_bins", "%d bounds; want %d or fewer", len(l.PredictionBins), maxPredictionBins)
	}
	for i, bound := range l.PredictionBins {
		if math.IsNaN(bound) || math.IsInf(bound, 0) || i > 0 && bound <= l.PredictionBins[i-1] {
			at.Errorf("prediction_bins", "%v; want finite numbers in ascending order", l.PredictionBins)
			break
		}
	}
	if l.SegmentFeature != "" && (l.SegmentColumn == "" || l.bins() == nil) {
		at.Errorf("segment_feature", "%q; want it beside segment_column, and confidence_column or prediction_bins", l.SegmentFeature)
	}
	for key, d := range sorted(map[string]config.Duration{"window": l.Window, "interval": l.Interval, "timeout": l.Timeout}) {
		if d <= 0 {
			at.Errorf(key, "%v; want a duration above 0", d)
		}
	}
	for key, n := range sorted(map[string]int{"max_segments": l.MaxSegments, "max_classes": l.MaxClasses}) {
		if n < 1 || n > 1000 {
			at.Errorf(key, "%d; want 1 to 1000", n)
		}
	}
}

// maxLabelledBins limits the combinations of version, segment and class of a table that are counted by bins.
const maxLabelledBins = 200

// maxPredictionBins limits the number of prediction_bins.
const maxPredictionBins = 30

// bins returns the upper bounds of the bins by which predictions are counted, or nil if performance is not estimated.
func (l *LabelsConfig) bins() []float64 {
	switch {
	case l.Numeric:
		return l.PredictionBins
	case l.ConfidenceColumn != "":
		return metering.ConfidenceBins()
	}
	return nil
}

// estimated returns the models whose performance is estimated.
func (c *Config) estimated() (all []metering.Estimated) {
	for i := range c.Labels {
		l := &c.Labels[i]
		model := l.Model
		if l.ModelColumn != "" {
			model = ""
		}
		if l.bins() != nil {
			all = append(all, metering.Estimated{Model: model, Segment: l.SegmentFeature, Numeric: l.Numeric, Bins: l.PredictionBins})
		}
	}
	return all
}

// ThresholdsConfig overrides the defaults of rules/thresholds.yaml for one model.
type ThresholdsConfig struct {
	DriftPSI          *float64 `yaml:"drift_psi,omitempty"`
	QueueWaitRatio    *float64 `yaml:"queue_wait_ratio,omitempty"`
	FailureRatio      *float64 `yaml:"failure_ratio,omitempty"`
	TrafficDeviation  *float64 `yaml:"traffic_deviation_ratio,omitempty"`
	LatencyDeviation  *float64 `yaml:"latency_deviation_ratio,omitempty"`
	Groundedness      *float64 `yaml:"groundedness_score,omitempty"`
	HallucinationRate *float64 `yaml:"hallucination_ratio,omitempty"`
	PerformanceDrop   *float64 `yaml:"performance_drop_ratio,omitempty"`
	ErrorGrowth       *float64 `yaml:"error_growth_ratio,omitempty"`
	// Fields overrides thresholds of single fields.
	Fields map[string]FieldThresholds `yaml:"fields,omitempty"`
}

// FieldThresholds are the thresholds that a single field can override.
type FieldThresholds struct {
	DriftPSI *float64 `yaml:"drift_psi,omitempty"`
}

// byName returns the thresholds of a model by their names in rules/thresholds.yaml.
func (t *ThresholdsConfig) byName() map[string]*float64 {
	return map[string]*float64{
		signalDrift: t.DriftPSI, "queue_wait_ratio": t.QueueWaitRatio, "failure_ratio": t.FailureRatio,
		"traffic_deviation_ratio": t.TrafficDeviation, "latency_deviation_ratio": t.LatencyDeviation,
		"groundedness_score": t.Groundedness, "hallucination_ratio": t.HallucinationRate,
		"performance_drop_ratio": t.PerformanceDrop, "error_growth_ratio": t.ErrorGrowth,
	}
}

// Validate implements config.Validator.
func (t *ThresholdsConfig) Validate(at config.At) {
	check := func(key string, v *float64) {
		if v != nil && !(*v > 0) {
			at.Errorf(key, "%v; want a number above 0", *v)
		}
	}
	for name, v := range sorted(t.byName()) {
		check(name, v)
	}
	for field, f := range sorted(t.Fields) {
		check("fields."+field+".drift_psi", f.DriftPSI)
	}
}

// BaselinesConfig configures how bins are cut and how long a baseline learns.
type BaselinesConfig struct {
	// Days is the number of days that the production baseline learns; 0 disables it.
	Days int `yaml:"days"`
	// Sample is the number of inferences from which bins are cut. After SampleWait, fewer are enough.
	Sample     int             `yaml:"sample"`
	SampleWait config.Duration `yaml:"sample_wait"`
	// Interval is the time between two reads of the store for a version that has its bins.
	Interval config.Duration `yaml:"interval"`
	// TimeZone defines hours of the day, weekdays and weekends of the models.
	TimeZone config.TimeZone `yaml:"time_zone,omitempty"`
	Fields   FieldsConfig    `yaml:"fields"`
}

// SetDefaults implements config.Defaulter.
func (b *BaselinesConfig) SetDefaults() {
	b.Days, b.Sample, b.SampleWait, b.Interval = 30, 1000, config.Duration(10*time.Minute), config.Duration(time.Minute)
}

// Validate implements config.Validator.
func (b *BaselinesConfig) Validate(at config.At) {
	if b.TimeZone == "" {
		b.TimeZone = at.TimeZone("time_zone", "")
	}
	if b.Days < 0 || b.Days > 366 {
		at.Errorf("days", "%d; want 1 to 366, or 0 for no production baseline", b.Days)
	}
	if b.Sample < 10 || b.Sample > 10_000 {
		at.Errorf("sample", "%d; want 10 to 10000", b.Sample)
	}
	for key, d := range sorted(map[string]config.Duration{"sample_wait": b.SampleWait, "interval": b.Interval}) {
		if d <= 0 {
			at.Errorf(key, "%v; want a duration above 0", d)
		}
	}
}

// FieldsConfig defines which fields have bins, and how many bins.
type FieldsConfig struct {
	Include []string `yaml:"include,omitempty"`
	Exclude []string `yaml:"exclude,omitempty"`
	// Reveal names fields whose categories are never hidden.
	Reveal []string `yaml:"reveal,omitempty"`
	Bins   int      `yaml:"bins"`
	Top    int      `yaml:"top"`
	// Max limits the fields of a model, MaxTotal those of all versions of all models.
	Max      int `yaml:"max"`
	MaxTotal int `yaml:"max_total"`
}

// revealed returns the fields whose categories are never hidden: those of the configuration, and those whose categories the exporter itself
// defines.
func (f *FieldsConfig) revealed() reveal.Policy {
	return append(reveal.Policy{"text.answer", "text.json", "text.language", "text.script"}, f.Reveal...)
}

// SetDefaults implements config.Defaulter.
func (f *FieldsConfig) SetDefaults() { f.Bins, f.Top, f.Max, f.MaxTotal = 10, 20, 100, 2000 }

// Validate implements config.Validator.
func (f *FieldsConfig) Validate(at config.At) {
	for key, v := range sorted(map[string]struct{ n, least, most int }{
		"bins": {f.Bins, 2, binning.MaxEdges / 2}, "top": {f.Top, 1, binning.MaxCategories}, "max": {f.Max, 1, 250}, "max_total": {f.MaxTotal, 1, 100_000},
	}) {
		if v.n < v.least || v.n > v.most {
			at.Errorf(key, "%d; want %d to %d", v.n, v.least, v.most)
		}
	}
	for key, patterns := range sorted(map[string][]string{"include": f.Include, "exclude": f.Exclude, "reveal": f.Reveal}) {
		for _, p := range patterns {
			if _, err := path.Match(p, ""); err != nil {
				at.Errorf(key, "%q is not a pattern: %v", p, err)
			}
		}
	}
}

func (f FieldsConfig) choice() tables.Choice {
	return tables.Choice{Include: f.Include, Exclude: f.Exclude, Bins: f.Bins, Top: f.Top, MaxColumns: f.Max}
}

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

// training returns the configured training data of a version and its position in the file. The version's own entry precedes that of all
// versions.
func (c *Config) training(model, version string) (chosen *TrainingConfig, key string) {
	for i, m := range c.Models {
		if m.Name != model || m.Training == nil || m.Version != "" && m.Version != version {
			continue
		}
		if chosen == nil || m.Version != "" {
			chosen, key = m.Training, "models["+strconv.Itoa(i)+"].training."
		}
	}
	return chosen, key
}
