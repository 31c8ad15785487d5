package guard_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/guard"
)

func TestCall(t *testing.T) {
	t.Parallel()
	var logs strings.Builder
	log := slog.New(slog.NewTextHandler(&logs, nil))
	odd := errors.New("odd")

	require.NoError(t, guard.Call(log, "work", func() error { return nil }))
	require.ErrorIs(t, guard.Call(log, "work", func() error { return odd }), odd)
	require.Empty(t, logs.String(), "an error is the caller's to log")

	err := guard.Call(log, "work", func() error {
		var m map[string]int
		m["a"] = 1 //nolint:staticcheck // This is the panic.
		return nil
	})
	var caught *guard.PanicError
	require.ErrorAs(t, err, &caught)
	require.ErrorContains(t, err, "panicked: assignment to entry in nil map")
	require.Contains(t, logs.String(), "part=work")
	require.Contains(t, logs.String(), "guard_test.go", "the stack leads to the line")
}
