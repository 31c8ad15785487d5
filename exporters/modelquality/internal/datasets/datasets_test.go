package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/thanos-io/objstore/providers/filesystem"
)

const orders = "amount,country\n1,CA\n2,FR\n"

// bench is a Reader with a clock and a log.
type bench struct {
	*Reader
	t   *testing.T
	now time.Time
	log bytes.Buffer
}

func newBench(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Unix(1e9, 0)}
	o := Options{
		MaxBytes: 1000, Timeout: 30 * time.Second, TempDir: t.TempDir(), Now: func() time.Time { return b.now },
		Logger: slog.New(slog.NewTextHandler(&b.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	var err error
	b.Reader, err = New(o)
	require.NoError(t, err)
	return b
}

// read returns the dataset's content and its name on disk, and gives it back.
func (b *bench) read(typ, source string) (text, path string, err error) {
	b.t.Helper()
	file, err := b.Open(b.t.Context(), Dataset{"r1", typ, source})
	if err != nil {
		return "", "", err
	}
	content, err := os.ReadFile(file.Path)
	require.NoError(b.t, err)
	file.Done(nil)
	return string(content), file.Path, nil
}

func (b *bench) requireUnreadable(typ, source, because string) {
	b.t.Helper()
	_, _, err := b.read(typ, source)
	require.ErrorIs(b.t, err, ErrUnreadable)
	require.EqualError(b.t, err, because)
	require.Contains(b.t, b.log.String(), "run=r1")
}

func (b *bench) requireNoDownloads() {
	b.t.Helper()
	left, err := os.ReadDir(b.TempDir)
	require.NoError(b.t, err)
	require.Empty(b.t, left)
}

func TestFilesAreReadOnlyWhereThatIsAllowed(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	for _, path := range []string{filepath.Join(root, "orders.csv"), filepath.Join(elsewhere, "secrets.csv"), filepath.Join(root, "a*.csv"), filepath.Join(root, "orders.txt")} {
		require.NoError(t, os.WriteFile(path, []byte(orders), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(root, "folder.csv"), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(elsewhere, "secrets.csv"), filepath.Join(root, "link.csv")))
	const outside = "it is in none of mlflow.datasets.folders"
	for name, tc := range map[string]struct {
		typ, source, because string
	}{
		"a file in the folder":         {"local", filepath.Join(root, "orders.csv"), ""},
		"the same as a URL":            {"local", "file://" + filepath.Join(root, "orders.csv"), ""},
		"a file elsewhere":             {"local", filepath.Join(elsewhere, "secrets.csv"), outside},
		"a link to it":                 {"local", filepath.Join(root, "link.csv"), outside},
		"a way out":                    {"local", root + "/../" + filepath.Base(elsewhere) + "/secrets.csv", outside},
		"the folder itself":            {"local", root, outside},
		"a file whose name is a glob":  {"local", filepath.Join(root, "a*.csv"), "its name would be taken for a pattern"},
		"a missing file":               {"local", filepath.Join(root, "none.csv"), "there is no such file here"},
		"a folder called like a file":  {"local", filepath.Join(root, "folder.csv"), "it is not a file"},
		"a file of another kind":       {"local", filepath.Join(root, "orders.txt"), `"orders.txt" does not end in .parquet, .arrow, .feather, .ipc, .csv, .tsv, .json, .ndjson or .jsonl (.gz and .zst may follow those of text)`},
		"a path from nowhere":          {"local", "orders.csv", "the path of a local file must be absolute"},
		"a local path of another type": {"spark", filepath.Join(root, "orders.csv"), `a source of type "spark" names no file`},
		"data of Hugging Face":         {"hugging_face", "some/data", `a source of type "hugging_face" names no file`},
		"code alone":                   {"code", "", "MLflow has no file, only the code that made the data; mlflow.data.from_pandas and the like take a source"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(o *Options) { o.Folders = []string{root} })
			if tc.because != "" {
				b.requireUnreadable(tc.typ, tc.source, tc.because)
				return
			}
			text, path, err := b.read(tc.typ, tc.source)
			require.NoError(t, err)
			require.Equal(t, orders, text)
			require.Equal(t, filepath.Join(root, "orders.csv"), path)
			require.FileExists(t, path, "it is no download")
		})
	}
	newBench(t, nil).requireUnreadable("local", filepath.Join(root, "orders.csv"), "it is a local file, and mlflow.datasets.folders names no folder")
}

// web is a server, and what it was asked.
type web struct {
	*httptest.Server
	asked   atomic.Int64
	secrets atomic.Int64 // requests with a header that tells a secret
	answer  func(http.ResponseWriter, *http.Request)
}

func newWeb(t *testing.T, start func(http.Handler) *httptest.Server, answer func(http.ResponseWriter, *http.Request)) *web {
	t.Helper()
	w := &web{answer: answer}
	w.Server = start(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		w.asked.Add(1)
		if request.Header.Get("Authorization") != "" || request.Header.Get("Referer") != "" || request.Header.Get("Cookie") != "" {
			w.secrets.Add(1)
		}
		w.answer(out, request)
	}))
	t.Cleanup(w.Close)
	return w
}

func text(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(orders)) }

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.Host
}

func TestHTTP(t *testing.T) {
	foreign := newWeb(t, httptest.NewServer, text)
	secure := newWeb(t, httptest.NewTLSServer, func(w http.ResponseWriter, request *http.Request) {
		http.Redirect(w, request, request.URL.Query().Get("to"), http.StatusFound)
	})
	tidy := newWeb(t, httptest.NewServer, func(w http.ResponseWriter, request *http.Request) {
		switch request.URL.Path {
		case "/orders.csv", "/ORDERS.CSV.gz":
			text(w, request)
		case "/long.csv":
			_, _ = w.Write([]byte(strings.Repeat("x", 1001)))
		case "/endless.csv":
			for range 100 {
				_, _ = w.Write([]byte(strings.Repeat("x", 1000)))
				w.(http.Flusher).Flush()
			}
		case "/short.csv":
			w.Header().Set("Content-Length", "500")
			_, _ = w.Write([]byte(orders))
		case "/there.csv":
			http.Redirect(w, request, "/orders.csv?signature=x", http.StatusTemporaryRedirect)
		case "/foreign.csv":
			http.Redirect(w, request, foreign.URL+"/orders.csv", http.StatusMovedPermanently)
		case "/file.csv":
			http.Redirect(w, request, "file:///etc/passwd", http.StatusMovedPermanently)
		case "/round.csv":
			http.Redirect(w, request, "/round.csv", http.StatusMovedPermanently)
		case "/forbidden.csv":
			w.WriteHeader(http.StatusForbidden)
		case "/broken.csv":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	host := hostOf(t, tidy.URL)
	for name, tc := range map[string]struct {
		source, because string
		passes          bool // with time, or when somebody mends it
	}{
		"a file":                           {tidy.URL + "/orders.csv", "", false},
		"with a signature":                 {tidy.URL + "/orders.csv?signature=secret#x", "", false},
		"compressed, in capitals":          {tidy.URL + "/ORDERS.CSV.gz", "", false},
		"with a way round":                 {tidy.URL + "/there.csv", "", false},
		"not there":                        {tidy.URL + "/none.csv", "the server answers 404 Not Found", false},
		"of no kind":                       {tidy.URL + "/orders?format=.csv", `"orders" does not end in .parquet, .arrow, .feather, .ipc, .csv, .tsv, .json, .ndjson or .jsonl (.gz and .zst may follow those of text)`, false},
		"too large":                        {tidy.URL + "/long.csv", "it has 1001 bytes, and mlflow.datasets.max_bytes is 1000", false},
		"without an end":                   {tidy.URL + "/endless.csv", "it has more than the 1000 bytes of mlflow.datasets.max_bytes", false},
		"cut off":                          {tidy.URL + "/short.csv", "run r1: dataset " + tidy.URL + "/short.csv: download: unexpected EOF", true},
		"not ours to read":                 {tidy.URL + "/forbidden.csv", "run r1: dataset " + tidy.URL + "/forbidden.csv: the server answers 403 Forbidden", true},
		"of a broken server":               {"http://user:secret@" + host + "/broken.csv?signature=secret", "run r1: dataset " + tidy.URL + "/broken.csv: the server answers 500 Internal Server Error", true},
		"of another host":                  {foreign.URL + "/orders.csv", "its host " + hostOf(t, foreign.URL) + " is not one of mlflow.datasets.hosts", false},
		"of a host with an allowed prefix": {"http://data.example.com.evil.example/orders.csv", "its host data.example.com.evil.example is not one of mlflow.datasets.hosts", false},
		"of no host":                       {"http://:x/orders.csv", "it is no URL", false},
		"of a user called like a host":     {"http://" + host + "@example.com/orders.csv", "its host example.com is not one of mlflow.datasets.hosts", false},
		"by a redirect to another host":    {tidy.URL + "/foreign.csv", "it redirects, and then its host " + hostOf(t, foreign.URL) + " is not one of mlflow.datasets.hosts", false},
		"by a redirect to a file":          {tidy.URL + "/file.csv", "it redirects, and then its host  is not one of mlflow.datasets.hosts", false},
		"by a redirect to itself":          {tidy.URL + "/round.csv", "it redirects too often", false},
		"by a redirect out of TLS":         {secure.URL + "/x.csv?to=" + url.QueryEscape(tidy.URL+"/orders.csv"), "it redirects from https to http", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(o *Options) { o.Hosts = []string{"data.example.com", host, hostOf(t, secure.URL)} })
			b.client.Transport = secure.Client().Transport
			content, path, err := b.read("http", tc.source)
			switch {
			case tc.because == "":
				require.NoError(t, err)
				require.Equal(t, orders, content)
				require.Contains(t, []string{".csv", ".csv.gz"}, path[strings.Index(path, ".csv"):])
			case tc.passes:
				require.EqualError(t, err, tc.because)
				require.NotErrorIs(t, err, ErrUnreadable)
				require.Empty(t, b.log.String(), "it is the collector's to log")
			default:
				b.requireUnreadable("http", tc.source, tc.because)
			}
			require.NotContains(t, fmt.Sprint(err)+b.log.String(), "secret")
			b.requireNoDownloads()
		})
	}
	require.Zero(t, foreign.asked.Load())
	require.EqualValues(t, 1, tidy.secrets.Load(), "the user that the source itself names")
}

func TestDefaultPortMayBeOmitted(t *testing.T) {
	for source, ok := range map[string]bool{
		"https://data.example.com/x": true, "https://data.example.com:443/x": true, "http://DATA.example.com/x": true, "https://data.example.com:8443/x": false,
		"https://other.example.com/x": true, "http://other.example.com/x": false, "ftp://data.example.com/x": false, "https://[::1]:9000/x": true, "https://[::1]/x": false,
	} {
		u, err := url.Parse(source)
		require.NoError(t, err)
		b := newBench(t, func(o *Options) { o.Hosts = []string{"data.example.com", "other.example.com:443", "[::1]:9000"} })
		require.Equal(t, ok, b.allowed(u) == nil, source)
	}
}

func TestUnresponsiveServerTimesOut(t *testing.T) {
	silent := newWeb(t, httptest.NewServer, func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() })
	b := newBench(t, func(o *Options) { o.Hosts, o.Timeout = []string{hostOf(t, silent.URL)}, 20*time.Millisecond })
	_, _, err := b.read("http", silent.URL+"/orders.csv")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, ErrUnreadable)
	b.requireNoDownloads()
}

func TestFailedDownloadIsRetriedLaterAndLoggedOnce(t *testing.T) {
	status := http.StatusInternalServerError
	server := newWeb(t, httptest.NewServer, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(orders))
	})
	source := server.URL + "/orders.csv"
	b := newBench(t, func(o *Options) { o.Hosts = []string{hostOf(t, server.URL)} })
	asked := func(want int64, after time.Duration) error {
		t.Helper()
		b.now = b.now.Add(after)
		before := server.asked.Load()
		_, _, err := b.read("http", source)
		require.Equal(t, want, server.asked.Load()-before)
		return err
	}
	first := asked(1, 0)
	require.ErrorContains(t, first, "500 Internal Server Error")
	require.Equal(t, first, asked(0, time.Minute-1), "not yet again")
	require.Error(t, asked(1, 1))
	require.Error(t, asked(0, 2*time.Minute-1), "twice as long")
	status = http.StatusNotFound
	require.ErrorIs(t, asked(1, 1), ErrUnreadable)
	require.ErrorIs(t, asked(0, time.Hour-1), ErrUnreadable)
	require.ErrorIs(t, asked(1, 1), ErrUnreadable)
	require.Equal(t, 1, strings.Count(b.log.String(), "\n"), "%s", &b.log)
	status = http.StatusOK
	require.NoError(t, asked(1, time.Hour))
	require.NoError(t, asked(1, 0))

	// A file that its reader could not use is not fetched again at once either.
	file, err := b.Open(t.Context(), Dataset{"r1", "http", source})
	require.NoError(t, err)
	require.FileExists(t, file.Path)
	file.Done(errors.New("no CSV"))
	require.NoFileExists(t, file.Path)
	require.EqualError(t, asked(0, time.Minute-1), "no CSV")
	require.NoError(t, asked(1, 1))
}

func TestCacheIsBounded(t *testing.T) {
	b := newBench(t, nil)
	for n := range 3 * maxFailures {
		_, _, err := b.read("code", fmt.Sprint(n))
		require.ErrorIs(t, err, ErrUnreadable)
	}
	require.LessOrEqual(t, len(b.failures), maxFailures)
}

func TestBuckets(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "bucket", "2026"), 0o700))
	for name, content := range map[string]string{"bucket/2026/orders.csv": orders, "bucket/long.csv": strings.Repeat("x", 1001), "secrets.csv": "secret"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	bucket, err := filesystem.NewBucket(filepath.Join(dir, "bucket"))
	require.NoError(t, err)
	const outside = "it is in none of mlflow.datasets.buckets"
	for source, because := range map[string]string{
		"s3://training/2026/orders.csv":  "",
		"s3://training/none.csv":         "there is no such object",
		"s3://training/long.csv":         "it has 1001 bytes, and mlflow.datasets.max_bytes is 1000",
		"s3://training/../secrets.csv":   outside,
		"s3://training-2/orders.csv":     outside,
		"gs://training/2026/orders.csv":  outside,
		"mlflow-artifacts:/1/orders.csv": "it is an artifact, and mlflow.datasets.artifacts is not on, or it is another server's",
		"s3://training/2026":             `"2026" does not end in .parquet, .arrow, .feather, .ipc, .csv, .tsv, .json, .ndjson or .jsonl (.gz and .zst may follow those of text)`,
	} {
		b := newBench(t, func(o *Options) { o.Buckets = []Bucket{{"s3://training", bucket}} })
		if because != "" {
			b.requireUnreadable("s3", source, because)
			continue
		}
		content, _, err := b.read("s3", source)
		require.NoError(t, err)
		require.Equal(t, orders, content)
		b.requireNoDownloads()
	}
}

// kept is an MLflow server that keeps one file, and one run that keeps its own elsewhere.
type kept struct{}

func (kept) Locate(_ context.Context, uri string) (string, error) {
	switch path, ok := strings.CutPrefix(uri, "runs:/there/"); {
	case ok:
		return "s3://training/" + path, nil
	case strings.HasPrefix(uri, "runs:/"):
		return "", fs.ErrNotExist
	}
	return uri, nil
}

func (kept) Artifact(_ context.Context, uri string) (*http.Response, bool, error) {
	if !strings.HasPrefix(uri, "mlflow-artifacts:/") {
		return nil, false, nil
	}
	w := httptest.NewRecorder()
	text(w, nil)
	return w.Result(), true, nil
}

func TestArtifacts(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "orders.csv"), []byte(orders), 0o600))
	bucket, err := filesystem.NewBucket(dir)
	require.NoError(t, err)
	b := newBench(t, func(o *Options) { o.Artifacts, o.Buckets = kept{}, []Bucket{{"s3://training", bucket}} })
	for _, source := range []string{"mlflow-artifacts:/1/r1/artifacts/orders.csv", "runs:/there/orders.csv"} {
		content, _, err := b.read("mlflow", source)
		require.NoError(t, err)
		require.Equal(t, orders, content)
	}
	b.requireUnreadable("mlflow", "runs:/none/orders.csv", "file does not exist")
}

func TestDownloadsOfAProcessThatWasKilledAreRemoved(t *testing.T) {
	dir := t.TempDir()
	fresh, old, other := filepath.Join(dir, tempPrefix+"1.csv"), filepath.Join(dir, tempPrefix+"2.csv"), filepath.Join(dir, "orders.csv")
	now := time.Now()
	for path, age := range map[string]time.Duration{fresh: 0, old: 2 * time.Hour, other: 2 * time.Hour} {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Chtimes(path, now.Add(-age), now.Add(-age)))
	}
	newBench(t, func(o *Options) { o.TempDir, o.Now = dir, func() time.Time { return now } })
	require.FileExists(t, fresh, "it may be another replica's")
	require.NoFileExists(t, old)
	require.FileExists(t, other)
}
