package cause

import "math"

// Counted is a column with the current and the expected number of rows of each value.
type Counted struct {
	Name          string
	Now, Expected []float64
}

// Volume searches for the value that explains the difference between the current and the expected number of rows: without its rows, the
// others are as many as expected. A loss that all values share has no cause.
func Volume(columns []Counted, rows, expected float64) []Cause {
	if expected <= 0 {
		return nil
	}
	change := math.Abs(rows/expected - 1)
	if change == 0 {
		return nil
	}
	var best Cause
	var most float64
	for c, column := range columns {
		for code, now := range column.Now {
			e := column.Expected[code]
			outside := expected - e
			if max(now, e) < leastRows || outside < outsideRows {
				continue
			}
			explained := 1 - math.Abs((rows-now)/outside-1)/change
			err := 1 / math.Sqrt(outside) / change
			if explained < leastExplained || explained-explainedErrors*err < chanceShare {
				continue
			}
			// The deviance of a Poisson count.
			score := e - now
			if now > 0 {
				score += now * math.Log(now/max(e, 0.5))
			}
			if score > most {
				most, best = score, Cause{Terms: []Term{{c, int32(code)}}, Explained: explained, Rows: now / max(rows, 1)}
			}
		}
	}
	if best.Terms == nil {
		return nil
	}
	return []Cause{best}
}
