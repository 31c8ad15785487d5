package modelquality

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

// Each bad configuration has the error message that it must cause.
func TestBadConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".bad.yaml"), func(t *testing.T) {
			_, err := Load(path)
			require.Error(t, err)
			exportertest.Golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestGoodConfiguration(t *testing.T) {
	cfg, err := Load("testdata/full.good.yaml")
	require.NoError(t, err)
	require.Empty(t, address(cfg.OTLP.HTTP))
	require.Equal(t, newGate(0.9), cfg.Evaluations["groundedness"], "it has a gate whatever else has")
	require.False(t, cfg.Evaluations["toxicity"].HigherIsBetter)
	training := func(version string) *TrainingConfig {
		c, _ := cfg.training("fraud", version)
		return c
	}
	require.Equal(t, "ml.fraud_training", training("3").Table, "that of all versions")
	require.Equal(t, config.Path("testdata/fraud-7.parquet"), training("7").Files, "its own")
	none, _ := cfg.training("other", "")
	require.Nil(t, none)
	require.Equal(t, []string{"wait"}, cfg.Attributes.QueueSpans)
}

func TestEverythingHasADefault(t *testing.T) {
	cfg, err := Load("")
	require.NoError(t, err)
	require.Equal(t, "localhost:4317", cfg.OTLP.GRPC)
	require.Equal(t, "localhost:4318", cfg.OTLP.HTTP)
	require.Equal(t, config.Duration(30*time.Second), cfg.Join.Wait)
	require.Equal(t, newGate(0.9), cfg.Evaluations["groundedness"])
	require.Empty(t, cfg.BaselineStore.Type)
	require.Nil(t, cfg.MLflow)
	require.Nil(t, cfg.Reviews)
}

type unasked struct{}

func (unasked) Export(context.Context, receiver.Signal, []byte) (receiver.Answer, error) {
	panic("nobody sends anything")
}

// Every client of these ports can create models, so by default only programs on the same machine can connect.
func TestOTLPListensOnLoopbackUnlessConfigured(t *testing.T) {
	cfg, err := Load("")
	require.NoError(t, err)
	free := func(address string) string {
		host, _, err := net.SplitHostPort(address)
		require.NoError(t, err)
		return net.JoinHostPort(host, "0")
	}
	r, err := receiver.New(receiver.Options{
		GRPCAddress: free(cfg.OTLP.GRPC), HTTPAddress: free(cfg.OTLP.HTTP), MaxRequestBytes: 1, MaxJSONMemory: 1, MaxRequests: 1, Logger: promslog.NewNopLogger(),
	}, unasked{})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	grpc, http := r.Addresses()
	for _, address := range []string{grpc, http} {
		require.True(t, netip.MustParseAddrPort(address).Addr().IsLoopback(), address)
	}
}

func TestWhereStateIsKept(t *testing.T) {
	const defaults = `baseline_store: {type: FILESYSTEM}
reviews: {url: "http://localhost:1"}
mlflow: {url: "http://localhost:1", assessments: {experiments: [{id: "1"}]}}
`
	const configured = `baseline_store: {type: FILESYSTEM, config: {directory: own}}
reviews: {url: "http://localhost:1", file: own.db}
mlflow: {url: "http://localhost:1", assessments: {experiments: [{id: "1"}], file: own.json}}
`
	for sentence, tc := range map[string]struct{ env, text, baselines, reviews, cursor string }{
		"in the folder that systemd makes":                   {"STATE", defaults, "STATE/baselines", "STATE/reviews.db", "STATE/assessments.json"},
		"beside the configuration, and no cursor":            {"", defaults, "BESIDE/baselines", "BESIDE/reviews.db", ""},
		"where the configuration says, relative to the file": {"STATE", configured, "BESIDE/own", "BESIDE/own.db", "BESIDE/own.json"},
		"nowhere, where nothing is asked for":                {"STATE", "reviews: {url: 'http://localhost:1'}\n", "", "STATE/reviews.db", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			state, beside := t.TempDir(), t.TempDir()
			fill := strings.NewReplacer("STATE", state, "BESIDE", beside)
			t.Setenv("STATE_DIRECTORY", fill.Replace(tc.env))
			file := filepath.Join(beside, "c.yaml")
			require.NoError(t, os.WriteFile(file, []byte(tc.text), 0o600))
			cfg, err := Load(file)
			require.NoError(t, err)
			require.Empty(t, cfg.Notes())
			directory, _ := cfg.BaselineStore.Config["directory"].(string)
			require.Equal(t, fill.Replace(tc.baselines), directory)
			require.Equal(t, fill.Replace(tc.reviews), string(cfg.Reviews.File))
			if cfg.MLflow != nil {
				require.Equal(t, fill.Replace(tc.cursor), string(cfg.MLflow.Assessments.File))
			}
		})
	}
}

func TestSharedTimeZoneIsTheDefault(t *testing.T) {
	t.Setenv("SIGHTGLASS_TIME_ZONE", "Asia/Tokyo")
	cfg, err := Load("")
	require.NoError(t, err)
	require.Equal(t, "Asia/Tokyo", cfg.Baselines.TimeZone.Location().String())
}
