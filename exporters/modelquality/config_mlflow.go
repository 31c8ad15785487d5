package modelquality

import (
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
)

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

// maxExperiments limits the requests of one pull.
const maxExperiments = 100
