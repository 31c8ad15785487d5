package dataquality

import (
	"maps"
	"slices"

	"github.com/sightglass-ml/sightglass/internal/reveal"
)

// order returns the bins of a column, sorted. It caches the last result, which rarely changes.
func order[V any](d *dataset, column string, bins map[string]V) []string {
	key := binsOf{column, len(bins)}
	sorted := d.sorted[key]
	if len(sorted) == len(bins) && !slices.ContainsFunc(sorted, func(bin string) bool {
		_, ok := bins[bin]
		return !ok
	}) {
		return sorted
	}
	if d.sorted == nil || len(d.sorted) > maxSorted {
		d.sorted = make(map[binsOf][]string)
	}
	d.sorted[key] = slices.Sorted(maps.Keys(bins))
	return d.sorted[key]
}

// binsOf is the key of a set of bins: a column has few sets, such as with and without the bin of unseen values, and they
// differ in size.
type binsOf struct {
	column string
	n      int
}

// maxSorted bounds the cached sets of bins. A dataset has fewer.
const maxSorted = 10_000

// maxChangeInfos bounds the series that describe single schema changes.
const maxChangeInfos = 50

// hiddenOf are the hidden names for a list of categories.
type hiddenOf struct {
	categories []string
	hidden     map[string]string
}

// hidden returns the published names of categories that must not be published in clear text. It computes them again only if
// the categories changed.
func (d *dataset) hidden(c *cycle, column string) map[string]string {
	layout := c.definition.Fields[column]
	last, ok := d.publishedNames[column]
	if ok && slices.Equal(last.categories, layout.Top) {
		return last.hidden
	}
	if d.publishedNames == nil {
		d.publishedNames = make(map[string]hiddenOf)
	}
	now := hiddenOf{layout.Top, reveal.Policy(d.cfg.Columns.Reveal).Hidden(column, layout)}
	d.publishedNames[column] = now
	return now.hidden
}
