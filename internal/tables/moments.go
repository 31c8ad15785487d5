package tables

import (
	"fmt"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Moments summarize the finite values of a numeric column.
type Moments = binning.Moments

// measurable is the upper limit of the absolute values that moments include. The square of a larger value does not fit into a double,
// which DuckDB and PostgreSQL report as an error. NaN and infinity fail the comparison in every database.
const (
	measurable      = "1e140"
	measurableFloat = 1e140
)

// momentsOf returns the SQL of the moments of a numeric column, an array of doubles for decodeMoments.
func momentsOf(d dialect, column string, class Class) string {
	value := d.double(column)
	filter := ""
	if class == Float {
		filter = "abs(" + value + ") < " + measurable
	}
	return d.moments(value, filter)
}

// momentCount is the number of elements of that array: count, minimum, maximum, sum, standard deviation, zeros.
const momentCount = 6

func decodeMoments(v any) (Moments, error) {
	values, err := toFloats(v)
	if err != nil {
		return Moments{}, err
	}
	if len(values) != momentCount {
		return Moments{}, fmt.Errorf("%d moments, expected %d", len(values), momentCount)
	}
	if values[0] == 0 {
		return Moments{}, nil
	}
	return Moments{
		Values: int64(values[0]), Min: values[1], Max: values[2], Sum: values[3], Mean: values[3] / values[0], Stddev: values[4], Zeros: int64(values[5]),
	}, nil
}
