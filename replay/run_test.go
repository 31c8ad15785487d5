package replay

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/scenario"
	"github.com/sightglass-ml/sightglass/replay/world"
	"github.com/sightglass-ml/sightglass/rules"
)

func TestTry(t *testing.T) {
	file := os.Getenv("TRY")
	if file == "" {
		t.Skip()
	}
	s, err := scenario.LoadFile(file)
	require.NoError(t, err)
	r, err := engine.LoadRules(rules.FS)
	require.NoError(t, err)
	begin := time.Now()
	last := begin
	res, err := Run(t.Context(), s, Options{Rules: r, World: world.Options{Files: map[string]string{"flights": os.Getenv("DATA"), "flights-model": os.Getenv("DATA")}},
		Progress: func(at time.Time) {
			if time.Since(last) > 5*time.Second {
				last = time.Now()
				fmt.Println(at, time.Since(begin))
			}
		}})
	require.NoError(t, err)
	require.NoError(t, Judge(s, []Result{res}).Write(os.Stdout, "table"))
	fmt.Println(time.Since(begin))
}
