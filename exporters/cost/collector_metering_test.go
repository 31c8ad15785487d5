package cost

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Mimir wants the tenant in a header, and companies have certificates of their own.
func TestPrometheusIsQueriedWithTheHTTPClientSettings(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Scope-OrgID") != "ml" || r.Header.Get("Authorization") != "Bearer s3cret" {
			http.Error(w, "no org id", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"7"]}]}}`)
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret\n"), 0o600))

	ask := func(client string) (model.Value, error) {
		var cfg MeteringConfig
		require.NoError(t, config.Decode(filepath.Join(dir, "cost.yaml"), []byte("{prometheus: '"+server.URL+"', "+client+"}"), &cfg))
		source, err := cfg.source()
		require.NoError(t, err)
		value, _, _, err := source.API.Query(t.Context(), "up", time.Unix(1700000000, 0))
		return value, err
	}
	value, err := ask(`http_client: {http_headers: {X-Scope-OrgID: {values: [ml]}}, authorization: {credentials_file: token}, tls_config: {ca_file: ca.pem}}`)
	require.NoError(t, err)
	require.Equal(t, model.SampleValue(7), value.(model.Vector)[0].Value)
	_, err = ask(`bearer_token: {file: token}, http_client: {http_headers: {X-Scope-OrgID: {values: [ml]}}, tls_config: {ca_file: ca.pem}}`)
	require.NoError(t, err)
	_, err = ask(`http_client: {authorization: {credentials_file: token}, tls_config: {ca_file: ca.pem}}`)
	require.ErrorContains(t, err, "401")
	_, err = ask(`bearer_token: {file: token}`)
	require.ErrorContains(t, err, "certificate")
}
