package dataquality

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/owner"
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
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestGoodConfiguration(t *testing.T) {
	cfg, err := Load("testdata/full.good.yaml")
	require.NoError(t, err)
	dir, err := filepath.Abs("testdata")
	require.NoError(t, err)

	require.Len(t, cfg.Datasets, 5)
	require.Equal(t, []int{11, 4, 2, 4}, []int{cfg.Datasets[1].Segments[0].most(), cfg.Datasets[1].Segments[1].most(), cfg.Datasets[1].Segments[2].most(), cfg.Datasets[1].Segments[3].most()}, "ten values and the rest, three and the rest, two, and two crossed with two")
	orders := cfg.Datasets[0]
	require.Equal(t, config.Duration(30*time.Second), orders.Interval, "its own interval")
	require.Equal(t, config.Duration(time.Minute), orders.Timeout, "the timeout of the defaults")
	require.Equal(t, config.Duration(24*time.Hour), orders.Window, "the window where nothing is said")
	require.Equal(t, "shop.cart", orders.Upstream[0].Table, "the table of the dataset it refers to")
	require.Equal(t, "warehouse", orders.Comparisons[0].Source, "the source of the dataset")
	require.Equal(t, baseline.Day("2026-10-01"), orders.Baselines.Production.FirstDay)
	require.Equal(t, owner.Owned{Owner: "payments", Labels: map[string]string{"tier": "gold"}}, orders.Owned)
	cart := cfg.Datasets[1]
	require.Zero(t, cart.Window, "0s is the whole table")
	features := cfg.Datasets[2]
	require.Equal(t, "files", features.Baselines.Training.Source)
	require.Equal(t, 30, features.Baselines.Production.Days)
	require.Contains(t, string(features.Files), filepath.Base(dir), "relative to the file")
}

// Loading any file ends with a configuration or an error.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/*.bad.yaml", "testdata/*.good.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, path := range files {
			data, err := os.ReadFile(path)
			require.NoError(f, err)
			f.Add(string(data))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		var cfg Config
		if err := config.Decode("fuzz.yaml", []byte(text), &cfg); err == nil {
			require.NotEmpty(t, cfg.Datasets)
		}
	})
}

func TestSharedTimeZoneIsTheDefault(t *testing.T) {
	t.Setenv("SIGHTGLASS_TIME_ZONE", "Asia/Tokyo")
	file := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(file, []byte("sources: {files: {type: duckdb}}\ndatasets:\n- {name: a, source: files, files: a.csv}\n- {name: b, source: files, files: b.csv, time_zone: UTC}\n"), 0o600))
	cfg, err := Load(file)
	require.NoError(t, err)
	require.Equal(t, []string{"Asia/Tokyo", "UTC"}, []string{cfg.Datasets[0].zone().String(), cfg.Datasets[1].zone().String()})
}
