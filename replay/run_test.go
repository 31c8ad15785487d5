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
	counts := map[string]int{}
	for _, x := range res.Transitions {
		if x.State == engine.Firing && x.At.After(s.From().Add(time.Duration(s.Warmup))) {
			counts[x.Labels.Get("alertname")+" "+x.Labels.Get("dataset")+x.Labels.Get("model")+" "+x.Labels.Get("column")+x.Labels.Get("field")]++
		}
	}
	for _, i := range res.Truth.Incidents {
		found := "-- missed"
		for _, x := range res.Transitions {
			object := true
			for k, v := range i.Object {
				object = object && x.Labels.Get(k) == v
			}
			if x.State == engine.Firing && object && !x.At.Before(i.Onset) && (i.End.IsZero() || x.At.Before(i.End.Add(i.Aftermath))) {
				for _, d := range i.Detectors {
					if d == x.Labels.Get("alertname") && found == "-- missed" {
						found = x.At.Sub(i.Onset).String() + " " + d
					}
				}
			}
		}
		fmt.Println(i.Class, i.Object, found)
	}
	for k, n := range counts {
		fmt.Println(n, k)
	}
	fmt.Println(time.Since(begin))
}
