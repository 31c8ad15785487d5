package action

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
)

// TargetConfig is the target of an action: exactly one of its kinds is set.
type TargetConfig struct {
	Airflow           *Airflow           `yaml:"airflow,omitempty"`
	ArgoWorkflows     *ArgoWorkflows     `yaml:"argo_workflows,omitempty"`
	ArgoEvents        *ArgoEvents        `yaml:"argo_events,omitempty"`
	KubeflowPipelines *KubeflowPipelines `yaml:"kubeflow_pipelines,omitempty"`
	GitHubActions     *GitHubActions     `yaml:"github_actions,omitempty"`
	Webhook           *Webhook           `yaml:"webhook,omitempty"`
	// HTTPClient has credentials, TLS and proxy in the format of Prometheus's http_config. Secrets must be files.
	HTTPClient config.Raw `yaml:"http_client,omitempty"`

	client promconfig.HTTPClientConfig
}

// kinds returns the configured targets.
func (c *TargetConfig) kinds() (names []string, chosen interface{ target() (*target, error) }) {
	if c.Airflow != nil {
		names, chosen = append(names, "airflow"), c.Airflow
	}
	if c.ArgoWorkflows != nil {
		names, chosen = append(names, "argo_workflows"), c.ArgoWorkflows
	}
	if c.ArgoEvents != nil {
		names, chosen = append(names, "argo_events"), c.ArgoEvents
	}
	if c.KubeflowPipelines != nil {
		names, chosen = append(names, "kubeflow_pipelines"), c.KubeflowPipelines
	}
	if c.GitHubActions != nil {
		names, chosen = append(names, "github_actions"), c.GitHubActions
	}
	if c.Webhook != nil {
		names, chosen = append(names, "webhook"), c.Webhook
	}
	return names, chosen
}

// Validate implements config.Validator.
func (c *TargetConfig) Validate(at config.At) {
	names, chosen := c.kinds()
	if len(names) != 1 {
		at.Errorf("", "has %d kinds of target %q; want one of airflow, argo_workflows, argo_events, kubeflow_pipelines, github_actions or webhook", len(names), names)
		return
	}
	if _, err := chosen.target(); err != nil {
		at.Errorf(names[0], "%v", err)
	}
	var err error
	if c.client, err = httpclient.Load(c.HTTPClient, at); err != nil {
		at.Errorf("http_client", "%v", err)
	}
}

// target returns the target that is configured.
func (c *TargetConfig) target(name string) (*target, error) {
	_, chosen := c.kinds()
	t, err := chosen.target()
	if err != nil {
		return nil, err
	}
	if t.client, err = promconfig.NewClientFromConfig(c.client, name); err != nil {
		return nil, fmt.Errorf("http_client: %w", err)
	}
	t.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return t, nil
}

// base checks the address of a service and the names that become part of its paths.
func base(address string, names ...string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", fmt.Errorf("url: %q is no address of a service; want http(s)://host[/path], without credentials", address)
	}
	for i := 0; i+1 < len(names); i += 2 {
		if names[i+1] == "" {
			return "", fmt.Errorf("%s: missing", names[i])
		}
	}
	return strings.TrimSuffix(address, "/"), nil
}

// Airflow triggers a DAG run. The key is its dag_run_id, so that Airflow rejects a duplicate.
type Airflow struct {
	URL string `yaml:"url"`
	DAG string `yaml:"dag"`
	// APIVersion is 2 for Airflow 3, 1 for Airflow 2.
	APIVersion int       `yaml:"api_version"`
	Conf       Templates `yaml:"conf,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (a *Airflow) SetDefaults() { a.APIVersion = 2 }

func (a *Airflow) target() (*target, error) {
	url, err := base(a.URL, "dag", a.DAG)
	if err != nil {
		return nil, err
	}
	if a.APIVersion != 1 && a.APIVersion != 2 {
		return nil, fmt.Errorf("api_version: %d; want 2 for Airflow 3 or 1 for Airflow 2", a.APIVersion)
	}
	if err := a.Conf.check(); err != nil {
		return nil, fmt.Errorf("conf: %w", err)
	}
	runs := fmt.Sprintf("%s/api/v%d/dags/%s/dagRuns", url, a.APIVersion, pathEscape(a.DAG))
	body := map[string]any{"dag_run_id": runName, "conf": a.Conf.values(), "note": "Started by Sightglass for {{ .Alertname }}."}
	if a.APIVersion == 2 {
		body["logical_date"] = nil // Airflow 3 requires it: null means that the run is for no data interval.
	}
	return &target{
		start:  request{runs, tree{body}},
		exists: []int{http.StatusConflict}, knownID: knownName,
		status: &poller{url: runs + "/{id}", fields: []string{"state"}, succeeded: []string{"success"}, failed: []string{"failed"}},
	}, nil
}

// runName is the name of a run where the caller may set it. It is valid in Kubernetes.
const runName = "sightglass-{{ .Key }}"

func knownName(p Params) string { return "sightglass-" + p.Key }

// keyLabel is the label of an Argo workflow that was started through Argo Events.
const keyLabel = "sightglass/key"

var (
	argoSucceeded = []string{"Succeeded"}
	argoFailed    = []string{"Failed", "Error"}
)

// ArgoWorkflows submits a workflow from a template. The key is part of its name, so that the cluster rejects a duplicate.
type ArgoWorkflows struct {
	URL              string    `yaml:"url"`
	Namespace        string    `yaml:"namespace"`
	WorkflowTemplate string    `yaml:"workflow_template"`
	Parameters       Templates `yaml:"parameters,omitempty"`
}

func (a *ArgoWorkflows) target() (*target, error) {
	url, err := base(a.URL, "namespace", a.Namespace, "workflow_template", a.WorkflowTemplate)
	if err != nil {
		return nil, err
	}
	if err := a.Parameters.check(); err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	workflows := url + "/api/v1/workflows/" + pathEscape(a.Namespace)
	return &target{
		start: request{workflows + "/submit", tree{map[string]any{
			"namespace": a.Namespace, "resourceKind": "WorkflowTemplate", "resourceName": a.WorkflowTemplate,
			"submitOptions": map[string]any{
				"name": runName, "labels": keyLabel + "={{ .Key }}", "parameters": a.Parameters.assignments(),
			},
		}}},
		exists: []int{http.StatusConflict}, knownID: knownName,
		status: &poller{url: workflows + "/{id}", fields: []string{"status.phase"}, succeeded: argoSucceeded, failed: argoFailed},
	}, nil
}

// ArgoEvents posts to a webhook event source. The started workflow is found by the label sightglass/key, which the sensor
// copies from idempotency_key in the body.
type ArgoEvents struct {
	URL  string    `yaml:"url"`
	Body Templates `yaml:"body,omitempty"`
	// Workflows is the Argo server to query for the workflow.
	Workflows struct {
		URL       string `yaml:"url"`
		Namespace string `yaml:"namespace"`
	} `yaml:"workflows"`
}

func (a *ArgoEvents) target() (*target, error) {
	source, err := base(a.URL)
	if err != nil {
		return nil, err
	}
	server, err := base(a.Workflows.URL, "workflows.namespace", a.Workflows.Namespace)
	if err != nil {
		return nil, fmt.Errorf("workflows.%w", err)
	}
	if err := a.Body.check(); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	body := a.Body.values()
	body["idempotency_key"] = "{{ .Key }}"
	workflows := server + "/api/v1/workflows/" + pathEscape(a.Workflows.Namespace)
	return &target{
		start: request{source, tree{body}},
		find: &finder{
			url: func(p Params, _ time.Time) string {
				return workflows + "?" + url.Values{"listOptions.labelSelector": {keyLabel + "=" + p.Key}}.Encode()
			},
			list: "items", id: "metadata.name",
			match: func(any, Params) bool { return true }, // The server selected by the label.
		},
		status: &poller{url: workflows + "/{id}", fields: []string{"status.phase"}, succeeded: argoSucceeded, failed: argoFailed},
	}, nil
}

// KubeflowPipelines creates a run. The key is part of its display name, by which an existing run is found.
type KubeflowPipelines struct {
	URL             string    `yaml:"url"`
	PipelineID      string    `yaml:"pipeline_id"`
	PipelineVersion string    `yaml:"pipeline_version_id,omitempty"`
	ExperimentID    string    `yaml:"experiment_id,omitempty"`
	Namespace       string    `yaml:"namespace,omitempty"`
	Parameters      Templates `yaml:"parameters,omitempty"`
}

func (k *KubeflowPipelines) target() (*target, error) {
	address, err := base(k.URL, "pipeline_id", k.PipelineID)
	if err != nil {
		return nil, err
	}
	if err := k.Parameters.check(); err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	reference := map[string]any{"pipeline_id": k.PipelineID}
	if k.PipelineVersion != "" {
		reference["pipeline_version_id"] = k.PipelineVersion
	}
	body := map[string]any{
		"display_name": runName, "description": "Started by Sightglass for {{ .Alertname }}.",
		"pipeline_version_reference": reference, "runtime_config": map[string]any{"parameters": k.Parameters.values()},
	}
	query := url.Values{"page_size": {"10"}}
	if k.ExperimentID != "" {
		body["experiment_id"] = k.ExperimentID
		query.Set("experiment_id", k.ExperimentID)
	}
	if k.Namespace != "" {
		query.Set("namespace", k.Namespace)
	}
	runs := address + "/apis/v2beta1/runs"
	return &target{
		start: request{runs, tree{body}},
		id:    "run_id",
		find: &finder{
			url: func(p Params, _ time.Time) string {
				filter, _ := json.Marshal(map[string]any{"predicates": []any{map[string]any{ // It has only strings, so it cannot fail.
					"operation": "EQUALS", "key": "name", "string_value": knownName(p),
				}}})
				return runs + "?" + query.Encode() + "&filter=" + url.QueryEscape(string(filter))
			},
			list: "runs", id: "run_id",
			match: func(run any, p Params) bool {
				name, err := lookup(run, "display_name")
				return err == nil && name == knownName(p)
			},
		},
		status: &poller{url: runs + "/{id}", fields: []string{"state"}, succeeded: []string{"SUCCEEDED", "SKIPPED"}, failed: []string{"FAILED", "CANCELED"}},
	}, nil
}

// GitHubActions dispatches a workflow. GitHub returns no ID: the run is found by its name, which the workflow makes from the
// key (run-name: … ${{ inputs.sightglass_key }}).
type GitHubActions struct {
	URL        string    `yaml:"url"`
	Repository string    `yaml:"repository"`
	Workflow   string    `yaml:"workflow"`
	Ref        string    `yaml:"ref"`
	KeyInput   string    `yaml:"key_input"`
	Inputs     Templates `yaml:"inputs,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (g *GitHubActions) SetDefaults() {
	g.URL, g.Ref, g.KeyInput = "https://api.github.com", "main", "sightglass_key"
}

// maxInputs is GitHub's limit of inputs for a dispatch.
const maxInputs = 25

func (g *GitHubActions) target() (*target, error) {
	address, err := base(g.URL, "workflow", g.Workflow, "ref", g.Ref, "key_input", g.KeyInput)
	if err != nil {
		return nil, err
	}
	owner, name, ok := strings.Cut(g.Repository, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("repository: %q; want owner/name", g.Repository)
	}
	if err := g.Inputs.check(); err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	}
	inputs := g.Inputs.values()
	if g.Inputs == nil {
		delete(inputs, "idempotency_key") // The key has an input of its own.
	}
	inputs[g.KeyInput] = "{{ .Key }}"
	if len(inputs) > maxInputs {
		return nil, fmt.Errorf("inputs: has %d with %s; GitHub takes %d", len(inputs), g.KeyInput, maxInputs)
	}
	repository := address + "/repos/" + pathEscape(owner) + "/" + pathEscape(name) + "/actions"
	workflow := repository + "/workflows/" + pathEscape(g.Workflow)
	return &target{
		start: request{workflow + "/dispatches", tree{map[string]any{"ref": g.Ref, "inputs": inputs}}},
		id:    "workflow_run_id", // Newer servers return the ID on request. It is not requested, since older ones reject the parameter.
		find: &finder{
			url: func(_ Params, created time.Time) string {
				// A minute earlier, for clock differences.
				since := created.Add(-time.Minute).UTC().Format(time.RFC3339)
				return workflow + "/runs?" + url.Values{"event": {"workflow_dispatch"}, "created": {">=" + since}, "per_page": {strconv.Itoa(100)}}.Encode()
			},
			list: "workflow_runs", id: "id",
			match: func(run any, p Params) bool {
				title, err := lookup(run, "display_title")
				return err == nil && strings.Contains(title, p.Key)
			},
		},
		status: &poller{
			url: repository + "/runs/{id}", fields: []string{"conclusion", "status"}, succeeded: []string{"success", "neutral", "skipped"},
			failed: []string{"failure", "cancelled", "timed_out", "action_required", "startup_failure", "stale"},
		},
	}, nil
}

// Webhook posts JSON to any service.
type Webhook struct {
	URL string `yaml:"url"`
	// Body is the JSON to send. Its strings are templates. The default has all values.
	Body any `yaml:"body,omitempty"`
	// ID is the dotted path of the run's ID in the response.
	ID     string         `yaml:"id,omitempty"`
	Status *WebhookStatus `yaml:"status,omitempty"`
}

// WebhookStatus is how a service reports the state of a run.
type WebhookStatus struct {
	URL       string   `yaml:"url"` // with {id}
	Field     string   `yaml:"field"`
	Succeeded []string `yaml:"succeeded"`
	Failed    []string `yaml:"failed"`
}

func (w *Webhook) target() (*target, error) {
	address, err := base(w.URL)
	if err != nil {
		return nil, err
	}
	body := w.Body
	if body == nil {
		body = Templates(nil).values()
	}
	template, err := newTree(body)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	t := &target{start: request{address, template}, id: w.ID}
	if s := w.Status; s != nil {
		if _, err := base(s.URL, "field", s.Field); err != nil {
			return nil, fmt.Errorf("status.%w", err)
		}
		switch {
		case w.ID == "":
			return nil, fmt.Errorf("id: missing; want the path of the run's id in the answer, which status.url needs")
		case !strings.Contains(s.URL, "{id}"):
			return nil, fmt.Errorf("status.url: %q has no {id}", s.URL)
		case len(s.Succeeded) == 0 || len(s.Failed) == 0:
			return nil, fmt.Errorf("status: want the words of succeeded and of failed, or a run would never end")
		}
		t.status = &poller{url: s.URL, fields: []string{s.Field}, succeeded: s.Succeeded, failed: s.Failed}
	}
	return t, nil
}

// pathEscape is url.PathEscape that also escapes names which would leave the path, such as "..".
func pathEscape(name string) string {
	if name == "." || name == ".." {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return url.PathEscape(name)
}
