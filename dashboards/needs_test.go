package dashboards

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryNeedTextIsUsedByAChart(t *testing.T) {
	shown := map[string]bool{}
	for _, d := range committed(t) {
		for _, p := range d.AllPanels() {
			shown[p.FieldConfig.Defaults.NoValue] = true
		}
	}
	for _, n := range needs {
		require.True(t, shown["No data. Needs "+n.what+"."], "nothing needs %s", n.what)
	}
}
