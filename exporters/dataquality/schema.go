package dataquality

import (
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// change is a difference between the expected and the actual schema.
type change struct {
	column, kind     string
	expected, actual string // types; empty if the schema lacks the column
}

// Kinds of schema changes: the values of the label change.
const (
	added       = "added"
	removed     = "removed"
	typeChanged = "type_changed"
)

// changes compares schemas by column name. It ignores the order of columns and the case of types, as SQL does.
func changes(expected []baseline.Column, actual []tables.Column) []change {
	types := make(map[string]string, len(actual))
	for _, c := range actual {
		types[c.Name] = c.Type
	}
	var cs []change
	known := make(map[string]bool, len(expected))
	for _, e := range expected {
		known[e.Name] = true
		switch t, ok := types[e.Name]; {
		case !ok:
			cs = append(cs, change{e.Name, removed, e.Type, ""})
		case e.Type != "" && t != "" && !typeNumber(e.Type) && !strings.EqualFold(e.Type, t):
			cs = append(cs, change{e.Name, typeChanged, e.Type, t})
		}
	}
	for _, a := range actual {
		if !known[a.Name] {
			cs = append(cs, change{a.Name, added, "", a.Type})
		}
	}
	slices.SortFunc(cs, func(a, b change) int {
		return strings.Compare(a.kind+"\x00"+a.column, b.kind+"\x00"+b.column)
	})
	return cs
}

func storedSchema(schema []tables.Column) []baseline.Column {
	columns := make([]baseline.Column, len(schema))
	for i, c := range schema {
		columns[i] = baseline.Column{Name: c.Name, Type: c.Type}
	}
	return columns
}

// typeNumber reports whether a stored type is a PostgreSQL type OID. Earlier versions stored the OID of enums and other types
// that are not built in, and restoring the database changes it.
func typeNumber(t string) bool {
	return t != "" && strings.Trim(t, "0123456789") == ""
}

func typesOf(schema []baseline.Column) map[string]string {
	types := make(map[string]string, len(schema))
	for _, c := range schema {
		types[c.Name] = c.Type
	}
	return types
}
