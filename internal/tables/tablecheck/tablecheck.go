// Package tablecheck checks the access to databases and their tables.
//
// Input: functions that open a source or a table. Output: rows of a connect.Report. State: none. It never writes to a database.
package tablecheck

import (
	"context"
	"fmt"
	"time"

	"github.com/sightglass-ml/sightglass/internal/connect"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Source connects to a database and reports whether it answers.
func Source(ctx context.Context, r *connect.Report, name string, typ tables.Type, open func(name string) (*tables.Source, error)) bool {
	return r.Do(ctx, "source "+name, "reachable", func(ctx context.Context) (string, error) {
		s, err := open(name)
		if err != nil {
			return "", err
		}
		return string(typ) + " answers", s.Ping(ctx)
	})
}

// Table reads the schema of a table, which needs the permission to read it.
func Table(ctx context.Context, r *connect.Report, part, what string, open func() (*tables.Source, tables.Relation, error)) (Opened, bool) {
	return connect.Try(ctx, r, part, what, func(ctx context.Context) (o Opened, found string, err error) {
		if o.Source, o.Relation, err = open(); err != nil {
			return o, "", err
		}
		if o.Schema, err = o.Source.Schema(ctx, o.Relation); err != nil {
			return o, "", err
		}
		if o.Relation.Time != "" && !hasColumn(o.Schema, o.Relation.Time) {
			return o, "", fmt.Errorf("timestamp column %q: %w", o.Relation.Time, tables.ErrNoColumn)
		}
		return o, fmt.Sprintf("may be read, %d columns", len(o.Schema)), nil
	})
}

// Opened is a table whose schema was read.
type Opened struct {
	Source   *tables.Source
	Relation tables.Relation
	Schema   []tables.Column
}

func hasColumn(schema []tables.Column, name string) bool {
	for _, c := range schema {
		if c.Name == name {
			return true
		}
	}
	return false
}

// Columns chooses the bins of a table as the exporter would, and reports them.
func Columns(ctx context.Context, r *connect.Report, part string, timeout time.Duration, o Opened, w tables.Window, choice tables.Choice) {
	Bins(ctx, r, part, timeout, o.Schema, func(ctx context.Context) (tables.Cut, error) {
		outlines, err := o.Source.Recent(ctx, o.Relation, o.Schema, w, choice, tables.FirstWindows, nil)
		return tables.CutOutlines(o.Schema, o.Relation.Time, choice, outlines...), err
	})
}

// Bins adds a row for each column with its type, and the bins that choose returns or the reason why it has none.
func Bins(ctx context.Context, r *connect.Report, part string, timeout time.Duration, schema []tables.Column, choose func(context.Context) (tables.Cut, error)) {
	cut, ok := connect.TryFor(ctx, r, timeout, part, "bins", func(ctx context.Context) (tables.Cut, string, error) {
		cut, err := choose(ctx)
		if err == nil && cut.Rows == 0 {
			return cut, "no rows yet to cut bins from", nil
		}
		return cut, fmt.Sprintf("%d of %d columns get bins, cut from %d rows", len(cut.Layouts), len(schema), cut.Rows), err
	})
	if ok && cut.Rows == 0 {
		clear(cut.Layouts) // Without rows, the bins would differ from those that the exporter will choose.
	}
	for _, c := range schema {
		found := c.Type
		layout, binned := cut.Layouts[c.Name]
		switch {
		case binned:
			found += fmt.Sprintf(": %s, %d bins", layout.Kind, len(layout.Bins()))
		case cut.Left[c.Name] != "" && cut.Rows > 0:
			found += ": no bins, " + cut.Left[c.Name]
		}
		r.Add(part, "column "+c.Name, connect.Info, found)
	}
}
