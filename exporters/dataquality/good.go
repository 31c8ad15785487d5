package dataquality

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
)

// readGood reads the last good snapshot. If the stored JSON is what this process wrote last, it does not decode it again.
func (d *dataset) readGood(ctx context.Context, view *baseline.View, c *cycle) error {
	stored, err := view.LastGoodJSON(ctx)
	switch {
	case errors.Is(err, baseline.ErrNotFound):
		return nil
	case err != nil:
		return err
	case d.goodJSON != nil && bytes.Equal(stored, d.goodJSON):
		c.good = d.good.clone()
		return nil
	}
	return view.LastGood(ctx, &c.good)
}

// writeGood stores the last good snapshot.
func (d *dataset) writeGood(ctx context.Context, view *baseline.View, c *cycle) error {
	d.goodJSON = nil
	text, err := c.good.asJSON()
	if err != nil {
		return fmt.Errorf("last good snapshot: %w", err)
	}
	if err := view.SetLastGoodJSON(ctx, text); err != nil {
		return err
	}
	d.good, d.goodJSON = c.good.clone(), text
	return nil
}

func (g *lastGood) clone() lastGood {
	of := *g
	of.Volumes, of.Nulls, of.Arrived, of.Passed = slices.Clone(g.Volumes), maps.Clone(g.Nulls), maps.Clone(g.Arrived), slices.Clone(g.Passed)
	return of
}

// asJSON encodes as encoding/json does, without escapes for HTML. It writes the volumes itself: they are most of the text,
// and reflection takes ten times as long.
func (g *lastGood) asJSON() (to []byte, err error) {
	rest := *g
	rest.Volumes = nil
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(rest); err != nil {
		return to, err
	}
	if g.Volumes == nil {
		return bytes.TrimSpace(text.Bytes()), nil
	}
	// Quotation marks within strings are escaped, so this text occurs only as the field.
	before, after, _ := bytes.Cut(bytes.TrimSpace(text.Bytes()), []byte(`"volumes":null`))
	to = append(slices.Clone(before), `"volumes":[`...)
	for i, v := range g.Volumes {
		if year := v.Time.Year(); year < 0 || year > 9999 {
			return to, errors.New("the time of a volume is not one of the years 0 to 9999")
		}
		if i > 0 {
			to = append(to, ',')
		}
		to = append(v.Time.AppendFormat(append(to, `{"time":"`...), time.RFC3339Nano), `","rows":`...)
		to = append(strconv.AppendInt(to, v.Rows, 10), '}')
	}
	return append(append(to, ']'), after...), nil
}
