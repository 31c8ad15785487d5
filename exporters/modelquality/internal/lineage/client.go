package lineage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// maxAnswer limits the size of an answer. The answer for a run has all its metrics, parameters and dataset profiles.
const maxAnswer = 8 << 20

// errNotFound means that the server does not have the object, or does not support the call.
var errNotFound = errors.New("not found")

type tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type modelVersion struct {
	Version string   `json:"version"`
	RunID   string   `json:"run_id"`
	Stage   string   `json:"current_stage"`
	Aliases []string `json:"aliases"`
	Created milli    `json:"creation_timestamp"`
	// ModelID is the ID of the logged model, since MLflow 3. A model that was logged outside a run has no RunID.
	ModelID string `json:"model_id"`
}

type loggedModel struct {
	ExperimentID string `json:"experiment_id"`
	SourceRunID  string `json:"source_run_id"`
}

type run struct {
	Info struct {
		RunID        string `json:"run_id"`
		ExperimentID string `json:"experiment_id"`
		ArtifactURI  string `json:"artifact_uri"`
	} `json:"info"`
	Data struct {
		Tags []tag `json:"tags"`
	} `json:"data"`
	Inputs struct {
		Datasets []datasetInput `json:"dataset_inputs"`
	} `json:"inputs"`
}

type datasetInput struct {
	Tags    []tag   `json:"tags"`
	Dataset dataset `json:"dataset"`
}

type dataset struct {
	Name       string `json:"name"`
	Digest     string `json:"digest"`
	SourceType string `json:"source_type"`
	// Source is JSON whose keys depend on the type.
	Source string `json:"source"`
}

// milli is a Unix time in milliseconds, which some servers write as text.
type milli int64

// UnmarshalJSON implements json.Unmarshaler.
func (m *milli) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	if err != nil {
		return fmt.Errorf("%s is no time in milliseconds", b)
	}
	*m = milli(n)
	return nil
}

func (m milli) time() time.Time {
	if m <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// version requests a version by number.
func (r *Registry) version(ctx context.Context, name, version string) (modelVersion, error) {
	var answer struct {
		ModelVersion modelVersion `json:"model_version"`
	}
	err := r.get(ctx, "model-versions/get", url.Values{"name": {name}, "version": {version}}, &answer)
	return answer.ModelVersion, err
}

// named requests the version with an alias. Servers and models without aliases return the version in a stage.
func (r *Registry) named(ctx context.Context, name, alias string) (modelVersion, error) {
	var byAlias struct {
		ModelVersion modelVersion `json:"model_version"`
	}
	err := r.get(ctx, "registered-models/alias", url.Values{"name": {name}, "alias": {alias}}, &byAlias)
	if !errors.Is(err, errNotFound) {
		return byAlias.ModelVersion, err
	}
	var byStage struct {
		ModelVersions []modelVersion `json:"model_versions"`
	}
	if err := r.get(ctx, "registered-models/get-latest-versions", url.Values{"name": {name}, "stages": {alias}}, &byStage); err != nil {
		return modelVersion{}, err
	}
	for _, v := range byStage.ModelVersions {
		if strings.EqualFold(v.Stage, alias) {
			return v, nil
		}
	}
	return modelVersion{}, errNotFound
}

func (r *Registry) loggedModel(ctx context.Context, id string) (loggedModel, error) {
	var answer struct {
		Model struct {
			Info loggedModel `json:"info"`
		} `json:"model"`
	}
	err := r.get(ctx, "logged-models/"+url.PathEscape(id), nil, &answer)
	return answer.Model.Info, err
}

func (r *Registry) run(ctx context.Context, id string) (run, error) {
	var answer struct {
		Run run `json:"run"`
	}
	err := r.get(ctx, "runs/get", url.Values{"run_id": {id}}, &answer)
	return answer.Run, err
}

func (r *Registry) setTag(ctx context.Context, runID string, t tag) error {
	body, err := json.Marshal(map[string]string{"run_id": runID, "key": t.Key, "value": t.Value})
	if err != nil {
		return err
	}
	return r.call(ctx, http.MethodPost, "runs/set-tag", nil, body, nil)
}

// training returns the training dataset of a run: the one whose context says so, otherwise the only one.
func (r run) training() dataset {
	for _, d := range r.Inputs.Datasets {
		if slices.ContainsFunc(d.Tags, func(t tag) bool {
			return t.Key == "mlflow.data.context" && (strings.EqualFold(t.Value, "training") || strings.EqualFold(t.Value, "train"))
		}) {
			return d.Dataset
		}
	}
	if len(r.Inputs.Datasets) == 1 {
		return r.Inputs.Datasets[0].Dataset
	}
	return dataset{}
}

func (r *Registry) get(ctx context.Context, method string, query url.Values, into any) error {
	return r.call(ctx, http.MethodGet, method, query, nil, into)
}

func (r *Registry) call(ctx context.Context, verb, method string, query url.Values, body []byte, into any) error {
	return r.request(ctx, "2.0", verb, method, query, body, into)
}

// request sends a request to a version of the API.
func (r *Registry) request(ctx context.Context, api, verb, method string, query url.Values, body []byte, into any) error {
	if err := r.limiter.Wait(ctx); err != nil {
		return fmt.Errorf("MLflow %s: wait for its turn: %w", method, err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	target := strings.TrimRight(r.URL, "/") + "/api/" + api + "/mlflow/" + method
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, verb, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("MLflow %s: %w", method, err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if err := r.authorize(request); err != nil {
		return fmt.Errorf("MLflow %s: %w", method, err)
	}
	answer, err := r.Client.Do(request)
	if err != nil {
		return fmt.Errorf("MLflow %s: %w", method, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("MLflow %s: %w", method, err)
	case len(data) > maxAnswer:
		return fmt.Errorf("MLflow %s: the answer is larger than %d bytes", method, maxAnswer)
	case answer.StatusCode == http.StatusOK && into == nil:
		return nil
	case answer.StatusCode == http.StatusOK:
		if err := json.Unmarshal(data, into); err != nil {
			return fmt.Errorf("MLflow %s: the answer is not what MLflow sends: %w", method, err)
		}
		return nil
	}
	var problem struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(data, &problem) // The page of a proxy is not JSON; its status is enough.
	switch {
	case answer.StatusCode == http.StatusNotFound, problem.Code == "RESOURCE_DOES_NOT_EXIST", problem.Code == "INVALID_PARAMETER_VALUE":
		// MLflow returns the last code for an alias that a model does not have, and for an unknown stage.
		return fmt.Errorf("MLflow %s: %w", method, errNotFound)
	case problem.Code != "":
		return fmt.Errorf("MLflow %s: %s: %s %s", method, answer.Status, problem.Code, clip(problem.Message))
	}
	return fmt.Errorf("MLflow %s: %s", method, answer.Status)
}

func (r *Registry) authorize(request *http.Request) error {
	if r.Token != (config.SecretSource{}) {
		token, err := r.Token.Read()
		if err != nil {
			return fmt.Errorf("token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token.Reveal()))
	}
	if r.Username != "" {
		password, err := r.Password.Read()
		if err != nil {
			return fmt.Errorf("password: %w", err)
		}
		request.SetBasicAuth(r.Username, password.Reveal())
	}
	return nil
}
