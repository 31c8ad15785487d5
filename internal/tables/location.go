package tables

import (
	"errors"
	"maps"
	"slices"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Location is the configuration of a table's location.
type Location struct {
	// Source is the name of a database of the configuration.
	Source string `yaml:"source,omitempty"`
	// Exactly one of the following three is set. Table is the name of a table or view, optionally with its schema. Query is a SELECT
	// statement. Files is the path or glob of Parquet, Arrow, CSV or JSON files, or the folder that contains them; only DuckDB reads
	// them.
	Table string      `yaml:"table,omitempty"`
	Query string      `yaml:"query,omitempty"`
	Files config.Path `yaml:"files,omitempty"`

	Reading `yaml:",inline"`
}

// Validate implements config.Validator.
func (p *Location) Validate(at config.At) {
	n := 0
	for _, given := range []bool{p.Table != "", p.Query != "", p.Files != ""} {
		if given {
			n++
		}
	}
	if n != 1 {
		at.Errorf("", "%d of table, query and files are given; want exactly one", n)
	}
	p.validate(at, p.Files != "")
	if p.Files == "" {
		return
	}
	switch err := CheckFiles(string(p.Files)); {
	case errors.Is(err, ErrLater):
		at.Laterf("files", "%v", err)
	case err != nil:
		at.Failf("files", "%v", err)
	}
}

// CheckSource reports, under key, a source that does not exist or that cannot read files.
func (p *Location) CheckSource(at config.At, key string, sources map[string]Config) {
	switch s, ok := sources[p.Source]; {
	case !ok:
		at.Errorf(key, "unknown source %q; want one of %q", p.Source, slices.Sorted(maps.Keys(sources)))
	case p.Files != "" && s.Type != DuckDB:
		at.Errorf(key, "%q is a %s source; want a duckdb source for files", p.Source, s.Type)
	}
}

// Relation returns the relation of the table in its source.
func (p *Location) Relation(s *Source, timeColumn string) (Relation, error) {
	var r Relation
	var err error
	switch {
	case p.Table != "":
		r = s.Table(p.Table, timeColumn)
	case p.Query != "":
		r = s.Query(p.Query, timeColumn)
	default:
		r, err = s.Files(string(p.Files), timeColumn)
	}
	return r.ReadAs(p.Reading, s), err
}

// Key returns the name of the setting that is given, for messages.
func (p *Location) Key() string {
	switch {
	case p.Table != "":
		return "table"
	case p.Query != "":
		return "query"
	}
	return "files"
}
