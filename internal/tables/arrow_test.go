package tables_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

// DuckDB reads Arrow files with an extension that is not part of the binary; the error says how to get on.
func TestArrowFilesSayWhatToDo(t *testing.T) {
	for _, name := range []string{"orders.arrow", "orders.feather", "day/orders.ipc", "orders.arrows", "ORDERS.FEATHER"} {
		_, err := open(t, tables.Options{Type: tables.DuckDB}).Files(name, "at")
		require.ErrorContains(t, err, `"`+name+`" is an Arrow file`)
		require.ErrorContains(t, err, "write it as Parquet")
		require.ErrorContains(t, err, "init: [INSTALL nanoarrow FROM community, LOAD nanoarrow]")
		require.ErrorContains(t, err, "SELECT * FROM read_arrow('"+name+"') and nan_is_missing: true")
	}
}
