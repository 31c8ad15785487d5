package fields

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// maxOutermost is the share of a baseline in the first or last interval of a number, above which the bins have no range. Bins of version
// 0.1 have a tenth there. In bins with a range it is close to zero.
const maxOutermost = 0.01

// Lacks returns what a baseline lacks, mostly one that an earlier version learned, with what cannot be detected for that reason, and the
// part that has to be reset to learn it. It returns "" if nothing is missing.
func Lacks(d baseline.Definition, p baseline.Production, withoutHours int) (what string, part baseline.Part) {
	var lacks, unlimited []string
	if withoutHours > 0 {
		part = baseline.PartProduction
		lacks = append(lacks, fmt.Sprintf("days without hours: %d: five minutes and an hour are compared with the hours of the other days, or with the whole baseline if there are none", withoutHours))
	}
	for _, field := range slices.Sorted(maps.Keys(d.Fields)) {
		if p.Frozen() && isInput(field) && withoutRange(d.Fields[field], p.Counts.Fields[field]) {
			unlimited = append(unlimited, strings.TrimPrefix(field, input))
		}
	}
	if len(unlimited) > 0 {
		part = baseline.PartDefinition
		lacks = append(lacks, fmt.Sprintf("the bins of %s have no range: MLModelInputBroken cannot detect values beyond the learned ones", strings.Join(unlimited, ", ")))
	}
	return strings.Join(lacks, "; "), part
}

func withoutRange(l binning.Layout, counts map[string]int64) bool {
	if l.Kind != binning.Numeric || len(l.Edges) == 0 || l.Centroid != nil || l.Ranged {
		return false
	}
	bins := l.Bins()
	return float64(max(counts[bins[len(bins)-1]], counts[bins[len(bins)-1-len(l.Edges)]])) > maxOutermost*float64(total(counts))
}
