package lineage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
)

// artifactsPath is where a server hands out the files that it keeps for its runs.
const artifactsPath = "/api/2.0/mlflow-artifacts/artifacts/"

// Locate returns where a file of a run is, and any other URI as it is. The error is fs.ErrNotExist if there is no such run.
func (r *Registry) Locate(ctx context.Context, uri string) (string, error) {
	rest, ok := strings.CutPrefix(uri, "runs:/")
	if !ok {
		return uri, nil
	}
	id, file, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	of, err := r.run(ctx, id)
	if errors.Is(err, errNotFound) {
		return "", fmt.Errorf("run %s: %w", clip(id), fs.ErrNotExist)
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w", clip(id), err)
	}
	return strings.TrimRight(of.Info.ArtifactURI, "/") + "/" + file, nil
}

// Artifact asks for a file of the server: mlflow-artifacts:/<path>, or its URL. It reports false for any other URI, those
// of another server's files among them, which must not see this one's token.
func (r *Registry) Artifact(ctx context.Context, uri string) (*http.Response, bool, error) {
	server, err := url.Parse(r.URL)
	if err != nil {
		return nil, false, err
	}
	file, ok := artifact(server, uri)
	if !ok {
		return nil, false, nil
	}
	if err := r.limiter.Wait(ctx); err != nil {
		return nil, true, fmt.Errorf("MLflow artifact: wait for its turn: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.JoinPath(artifactsPath).JoinPath((&url.URL{Path: file}).EscapedPath()).String(), http.NoBody)
	if err != nil {
		return nil, true, fmt.Errorf("MLflow artifact: %w", err)
	}
	if err := r.authorize(request); err != nil {
		return nil, true, fmt.Errorf("MLflow artifact: %w", err)
	}
	client := *r.Client
	// The token is for this server, wherever it may send us.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	return response, true, err
}

// artifact is the path of a file among those of the server.
func artifact(server *url.URL, uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false
	}
	here := u.Scheme == server.Scheme && u.Host == server.Host
	file := strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "mlflow-artifacts":
		here = u.Host == "" || u.Host == server.Host
	case "http", "https":
		var ok bool
		file, ok = strings.CutPrefix(u.Path, strings.TrimRight(server.Path, "/")+artifactsPath)
		here = here && ok
	default:
		return "", false
	}
	// A path with .. would lead to other calls of the server.
	return file, here && fs.ValidPath(file) && file != "."
}
