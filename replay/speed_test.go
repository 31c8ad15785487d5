package replay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/replay"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/scenario"
	"github.com/sightglass-ml/sightglass/rules"
)

// BenchmarkSpeed is what `make bench-replay` measures, for profiles: go test -bench Speed/2d -benchtime 1x -cpuprofile cpu.out ./replay.
func BenchmarkSpeed(b *testing.B) {
	s, err := scenario.LoadFile("scenarios/speed.yaml")
	require.NoError(b, err)
	loaded, err := engine.LoadRules(rules.FS)
	require.NoError(b, err)
	for _, days := range []int{2, 4, 10, 30} {
		b.Run(fmt.Sprintf("%dd", days), func(b *testing.B) {
			s.Length = config.Duration(time.Duration(days) * 24 * time.Hour)
			for b.Loop() {
				_, err := replay.Run(b.Context(), s, replay.Options{Rules: loaded})
				require.NoError(b, err)
			}
		})
	}
}
