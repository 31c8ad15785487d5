package baseline

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func parseConfig(t *testing.T, text string) Config {
	var c Config
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	require.NoError(t, dec.Decode(&c))
	return c
}

func TestAConfigIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                 "baseline store: no type, expected FILESYSTEM, S3, GCS, AZURE or another provider of objstore",
		"{type: TAPE}":       "baseline store: bucket with type TAPE is not supported",
		"{type: FILESYSTEM}": `baseline store: config of type FILESYSTEM needs a "directory"`,
		"{type: FILESYSTEM, config: {directory: 7}}":             `baseline store: config of type FILESYSTEM needs a "directory"`,
		"{type: FILESYSTEM, config: {directory: /a, folder: b}}": `baseline store: config of type FILESYSTEM has an unknown key "folder", expected "directory"`,
		"{type: S3, config: {buckets: b}}":                       "baseline store: create S3 client: yaml: unmarshal errors:\n  line 1: field buckets not found in type s3.Config",
		"{type: S3, config: {}}":                                 "baseline store: create S3 client: no s3 endpoint in config file",
	} {
		_, err := Open(parseConfig(t, text), slog.New(slog.DiscardHandler), nil)
		require.EqualError(t, err, want, text)
	}
}

func TestAFolderIsPrefixedAndMadeWhenNeeded(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(parseConfig(t, fmt.Sprintf("{type: filesystem, config: {directory: %q}, prefix: eu/prod}", dir)), nil, nil)
	require.NoError(t, err)
	require.Equal(t, "fs: "+dir+"/eu/prod", s.Name())
	require.NoDirExists(t, filepath.Join(dir, "eu"))
	ids, err := s.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
	_, err = s.Subject("dataset", "orders").CreateDefinition(t.Context(), testDefinition())
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "eu", "prod", "dataset", "orders", "definition-00000.json"))
	require.NoError(t, s.Close())
}

func TestClockIsInjected(t *testing.T) {
	now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	s, err := Open(Folder(t.TempDir()), nil, nil, WithClock(func() time.Time { return now }))
	require.NoError(t, err)
	d, err := s.Subject("dataset", "orders").CreateDefinition(t.Context(), testDefinition())
	require.NoError(t, err)
	require.Equal(t, now, d.Created)
}

// TestAnS3Config goes through the real client, whose requests a small S3 answers.
func TestAnS3Config(t *testing.T) {
	t.Parallel() // Since it waits, in real time.
	const settle = 3 * time.Second
	server := httptest.NewTLSServer(&tinyS3{objects: make(map[string]tinyObject)})
	defer server.Close()
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	reg := prometheus.NewPedanticRegistry()
	cfg := parseConfig(t, fmt.Sprintf(`
type: S3
config:
  bucket: baselines
  endpoint: %s
  region: ca-central-1
  access_key: someone
  secret_key: hunter2
  bucket_lookup_type: path
  http_config:
    insecure_skip_verify: true
prefix: prod
`, strings.TrimPrefix(server.URL, "https://")))
	s, err := Open(cfg, logger, reg, WithSettle(settle))
	require.NoError(t, err)
	_, err = Open(cfg, logger, reg)
	require.ErrorContains(t, err, "duplicate metrics collector registration attempted", "an error, not a panic")

	ctx := t.Context()
	b := s.Subject("dataset", "Größe/../x")
	def, err := b.CreateDefinition(ctx, testDefinition())
	require.NoError(t, err)
	require.NoError(t, view(t, b).SetLastGood(ctx, "one"))
	require.NoError(t, view(t, b).SetLastGood(ctx, "two"))
	require.NoError(t, b.Reset(ctx, PartTraining))

	other := New(s.bucket, WithSettle(settle)).Subject("dataset", "Größe/../x")
	v := view(t, other)
	got, err := v.Definition(ctx)
	require.NoError(t, err)
	require.Equal(t, def, got)
	require.Equal(t, "training-00001-", v.gens.training(""))
	var last string
	require.NoError(t, v.LastGood(ctx, &last))
	require.Equal(t, "two", last)
	ids, err := s.List(ctx)
	require.NoError(t, err)
	require.Equal(t, []ID{{"dataset", "Größe/../x"}}, ids)

	families, err := reg.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	require.NoError(t, s.Close())
	families, err = reg.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
	require.NotContains(t, logged.String(), "hunter2")
}

// tinyS3 knows the four requests that the store makes.
type tinyS3 struct {
	mu      sync.Mutex
	objects map[string]tinyObject
}

type tinyObject struct {
	content  []byte
	modified time.Time
}

func (s *tinyS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/baselines"), "/")
	object, ok := s.objects[key]
	switch {
	case r.Method == http.MethodPut:
		content, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-Amz-Decoded-Content-Length") != "" {
			http.Error(w, "not a plain upload", http.StatusNotImplemented)
			return
		}
		s.objects[key] = tinyObject{content, time.Now()}
		w.Header().Set("ETag", `"0"`)
	case key == "":
		s.list(w, r.URL.Query().Get("prefix"), r.URL.Query().Get("delimiter"))
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
	default:
		w.Header().Set("ETag", `"0"`)
		http.ServeContent(w, r, "", object.modified, bytes.NewReader(object.content))
	}
}

func (s *tinyS3) list(w io.Writer, prefix, delimiter string) {
	type content struct {
		Key          string
		LastModified string
	}
	result := struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []content
	}{}
	for key, o := range s.objects {
		if rest, ok := strings.CutPrefix(key, prefix); ok && (delimiter == "" || !strings.Contains(rest, delimiter)) {
			result.Contents = append(result.Contents, content{key, o.modified.UTC().Format("2006-01-02T15:04:05.000Z")})
		}
	}
	slices.SortFunc(result.Contents, func(a, b content) int { return strings.Compare(a.Key, b.Key) })
	_ = xml.NewEncoder(w).Encode(result)
}
