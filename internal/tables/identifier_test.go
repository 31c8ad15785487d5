package tables

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

func TestIdentifierIsDetectedWithAnUnderestimatedCount(t *testing.T) {
	choice := Choice{Top: 50}
	for name, tc := range map[string]struct {
		column   Column
		distinct int64
		want     string
	}{
		"a key of different values":                       {Column{Name: "shipment_id", Class: Integer}, 20_000, leftIdentifier},
		"a key whose estimate is 64 percent":              {Column{Name: "shipment_id", Class: Integer}, 12_800, leftIdentifier},
		"a key to another table, most of it repeated":     {Column{Name: "store_id", Class: Integer}, 900, ""},
		"a measurement whose values are mostly different": {Column{Name: "distance", Class: Integer}, 19_000, ""},
	} {
		t.Run(name, func(t *testing.T) {
			layout, left := cutColumn(tc.column, choice, []ColumnOutline{{Values: 20_000, Distinct: tc.distinct}}, func(Column) bool { return false })
			require.Equal(t, tc.want, left)
			if left == "" {
				require.Equal(t, binning.Numeric, layout.Kind)
			}
		})
	}
}
