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

// artifactsPath is the path at which a server offers the files that it stores for its runs.
const artifactsPath = "/api/2.0/mlflow-artifacts/artifacts/"

// Locate returns the location of a run's file, and any other URI unchanged. The error is fs.ErrNotExist if the run does not exist.
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

// Artifact requests a file of the server: mlflow-artifacts:/<path>, or its URL. It returns false for any other URI, because another server
// must not receive this server's token.
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
	// The token must not be sent to another server by a redirect.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	return response, true, err
}

// artifact returns the path of a file on the server.
func artifact(server *url.URL, uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false
	}
	sameServer := u.Scheme == server.Scheme && u.Host == server.Host
	file := strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "mlflow-artifacts":
		sameServer = u.Host == "" || u.Host == server.Host
	case "http", "https":
		var ok bool
		file, ok = strings.CutPrefix(u.Path, strings.TrimRight(server.Path, "/")+artifactsPath)
		sameServer = sameServer && ok
	default:
		return "", false
	}
	// A path with .. could reach other endpoints of the server.
	return file, sameServer && fs.ValidPath(file) && file != "."
}
