package lineage_test

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
)

func TestArtifactsComeOnlyFromTheServer(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("hush"), 0o600))
	foreign := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another server is asked") }))
	t.Cleanup(foreign.Close)
	for _, base := range []string{"", "/mlflow", "/mlflow/"} {
		var asked string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			asked = q.RequestURI
			if q.Header.Get("Authorization") != "Bearer hush" {
				w.WriteHeader(http.StatusUnauthorized)
			} else if q.URL.Query().Has("to") || q.URL.Path[len(q.URL.Path)-5:] == "moved" {
				http.Redirect(w, q, foreign.URL, http.StatusFound)
			} else {
				_, _ = w.Write([]byte("a,b\n"))
			}
		}))
		t.Cleanup(s.Close)
		o := options(&server{Server: s}, &clock{})
		o.URL, o.Token = s.URL+base, config.SecretSource{File: config.Path(token)}
		r := registry(t, o)
		prefix := "/api/2.0/mlflow-artifacts/artifacts/"
		if base != "" {
			prefix = "/mlflow" + prefix
		}
		for uri, want := range map[string]string{
			"mlflow-artifacts:/1/r/artifacts/training data/x.csv":                 "1/r/artifacts/training%20data/x.csv",
			"mlflow-artifacts://" + s.Listener.Addr().String() + "/1/x.csv":       "1/x.csv",
			s.URL + prefix + "1/r/artifacts/training%20data/x.csv":                "1/r/artifacts/training%20data/x.csv",
			s.URL + prefix + "1/100%25.csv":                                       "1/100%25.csv",
			"mlflow-artifacts:/1/what%3Fis%23this.csv":                            "1/what%3Fis%23this.csv",
			"mlflow-artifacts://" + foreign.Listener.Addr().String() + "/1/x.csv": "",
			foreign.URL + prefix + "1/x.csv":                                      "",
			"https" + s.URL[len("http"):] + prefix + "1/x.csv":                    "",
			s.URL + "/api/2.0/mlflow/runs/delete":                                 "",
			s.URL + prefix + "../../mlflow/runs/delete":                           "",
			"mlflow-artifacts:/../../mlflow/runs/delete":                          "",
			"mlflow-artifacts:/1/%2e%2e/%2e%2e/%2e%2e/mlflow/runs/delete":         "",
			"mlflow-artifacts:/":                                                  "",
			"s3://bucket/x.csv":                                                   "",
		} {
			asked = ""
			response, ok, err := r.Artifact(t.Context(), uri)
			require.NoError(t, err)
			require.Equal(t, want != "", ok, uri)
			if want == "" {
				require.Empty(t, asked)
				continue
			}
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusOK, response.StatusCode)
			require.Equal(t, "a,b\n", string(body))
			require.Equal(t, prefix+want, asked)
		}
		response, ok, err := r.Artifact(t.Context(), "mlflow-artifacts:/1/moved")
		require.NoError(t, err)
		require.True(t, ok)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusFound, response.StatusCode, "the token goes nowhere else")
	}
}

func TestLocate(t *testing.T) {
	s := serve(t, map[string]string{
		getRun: `{"run":{"info":{"run_id":"r3","artifact_uri":"mlflow-artifacts:/7/r3/artifacts"}}}`,
	})
	r := registry(t, options(s, &clock{}))
	for uri, want := range map[string]string{
		"runs:/r3/training data/x.csv": "mlflow-artifacts:/7/r3/artifacts/training data/x.csv",
		"s3://bucket/x.csv":            "s3://bucket/x.csv",
	} {
		got, err := r.Locate(t.Context(), uri)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := r.Locate(t.Context(), "runs:/r4/x.csv")
	require.ErrorIs(t, err, fs.ErrNotExist)
	s.down = true
	_, err = r.Locate(t.Context(), "runs:/r3/x.csv")
	require.ErrorContains(t, err, "502")
	require.NotErrorIs(t, err, fs.ErrNotExist)
}
