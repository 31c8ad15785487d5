package datasets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

// tempPrefix is the prefix of downloaded files. A file older than tempLife is no longer in use.
const (
	tempPrefix = "sightglass-dataset-"
	tempLife   = time.Hour
)

// sweep removes old downloads. It ignores errors, because nothing depends on it.
func (r *Reader) sweep() {
	old, _ := filepath.Glob(filepath.Join(r.TempDir, tempPrefix+"*"))
	for _, file := range old {
		if info, err := os.Stat(file); err == nil && r.Now().Sub(info.ModTime()) > tempLife {
			_ = os.Remove(file)
		}
	}
}

// extension returns the file name extension that gives the format of a file.
func extension(name string) (string, error) {
	ext, err := tables.Extension(path.Base(name))
	if err != nil {
		return "", unreadablef("%v", err)
	}
	return ext, nil
}

// content is the body of a server's answer.
type content struct {
	io.ReadCloser
	size int64 // negative if unknown
}

// download fetches a URI.
func (r *Reader) download(ctx context.Context, uri string) (*File, error) {
	name := uri
	web := strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://")
	var u *url.URL
	if web {
		var err error
		if u, err = url.Parse(uri); err != nil {
			return nil, unreadablef("it is no URL")
		}
		name = u.Path
	}
	ext, err := extension(name)
	if err != nil {
		return nil, err
	}
	var c content
	if web {
		c, err = r.web(ctx, u)
	} else {
		c, err = r.object(ctx, uri)
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if c.size > r.MaxBytes {
		return nil, unreadablef("it has %d bytes, and mlflow.datasets.max_bytes is %d", c.size, r.MaxBytes)
	}
	return r.save(c, ext)
}

// save writes a download to disk.
func (r *Reader) save(body io.Reader, ext string) (_ *File, err error) {
	file, err := os.CreateTemp(r.TempDir, tempPrefix+"*"+ext)
	if err != nil {
		return nil, err
	}
	remove := func(error) {
		if err := os.Remove(file.Name()); err != nil {
			r.Logger.Warn("A download was not deleted", "err", err)
		}
	}
	defer func() {
		if err != nil {
			remove(nil)
		}
	}()
	n, err := io.Copy(file, io.LimitReader(body, r.MaxBytes+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if n > r.MaxBytes {
		return nil, unreadablef("it has more than the %d bytes of mlflow.datasets.max_bytes", r.MaxBytes)
	}
	return &File{Path: file.Name(), Done: remove}, nil
}

// web requests the MLflow server for its own files, and any other allowed server without a token.
func (r *Reader) web(ctx context.Context, u *url.URL) (content, error) {
	if c, ok, err := r.artifact(ctx, u.String()); ok || err != nil {
		return c, err
	}
	if err := r.allowed(u); err != nil {
		return content{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return content{}, unreadablef("it is no URL that can be asked for")
	}
	response, err := r.client.Do(request)
	return answer(response, err)
}

// artifact requests a file of the MLflow server, if the URI is one.
func (r *Reader) artifact(ctx context.Context, uri string) (content, bool, error) {
	if r.Artifacts == nil {
		return content{}, false, nil
	}
	response, ok, err := r.Artifacts.Artifact(ctx, uri)
	if !ok {
		return content{}, false, err
	}
	c, err := answer(response, err)
	return c, true, err
}

// answer distinguishes permanent failures, such as a missing file, from failures that can end.
func answer(response *http.Response, err error) (content, error) {
	if err != nil {
		// The URL in the error can contain secrets, which must not be logged.
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return content{}, err
	}
	if response.StatusCode == http.StatusOK {
		return content{response.Body, response.ContentLength}, nil
	}
	defer response.Body.Close()
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code/100 == 5:
		return content{}, fmt.Errorf("the server answers %s", response.Status)
	}
	return content{}, unreadablef("the server answers %s", response.Status)
}

// allowed checks that a host may be requested.
func (r *Reader) allowed(u *url.URL) error {
	defaultPort := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	port := cmp.Or(u.Port(), defaultPort)
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":"+port)
	for _, h := range r.Hosts {
		if defaultPort != "" && (h == host+":"+port || h == host && port == defaultPort) {
			return nil
		}
	}
	return unreadablef("its host %s is not one of mlflow.datasets.hosts", u.Host)
}

// redirect follows redirects to allowed hosts only, and never from https to http.
func (r *Reader) redirect(next *http.Request, via []*http.Request) error {
	switch {
	case len(via) == 5:
		return unreadablef("it redirects too often")
	case via[0].URL.Scheme == "https" && next.URL.Scheme != "https":
		return unreadablef("it redirects from https to %s", next.URL.Scheme)
	}
	next.Header.Del("Referer") // It would send the signature in one URL to the host of another.
	if err := r.allowed(next.URL); err != nil {
		return unreadablef("it redirects, and then %v", err)
	}
	return nil
}

// object requests the MLflow server, or the bucket that matches the URI.
func (r *Reader) object(ctx context.Context, uri string) (content, error) {
	if c, ok, err := r.artifact(ctx, uri); ok || err != nil {
		return c, err
	}
	for _, b := range r.Buckets {
		key, ok := strings.CutPrefix(uri, b.URI+"/")
		if !ok || !fs.ValidPath(key) {
			continue
		}
		attributes, err := b.Attributes(ctx, key)
		if err == nil && attributes.Size > r.MaxBytes {
			return content{size: attributes.Size, ReadCloser: io.NopCloser(strings.NewReader(""))}, nil
		}
		var body io.ReadCloser
		if err == nil {
			body, err = b.Get(ctx, key)
		}
		switch {
		case err == nil:
			return content{body, attributes.Size}, nil
		case b.IsObjNotFoundErr(err):
			return content{}, unreadablef("there is no such object")
		}
		return content{}, err
	}
	scheme, _, _ := strings.Cut(uri, ":")
	if scheme == "mlflow-artifacts" || scheme == "runs" {
		return content{}, unreadablef("it is an artifact, and mlflow.datasets.artifacts is not on, or it is another server's")
	}
	return content{}, unreadablef("it is in none of mlflow.datasets.buckets")
}
