// Package ruleset parses the rule files and writes them for Prometheus.
//
// Input: the files that package rules embeds. Output: the parsed groups, and rule files that Prometheus loads. State: none. Programs that
// only need a threshold's default use package rules, which links no PromQL parser.
package ruleset

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/rules"
)

// File is one rule file.
type File struct {
	// Name is the slash-separated path of the file in rules.FS.
	Name   string
	Groups []rulefmt.RuleGroup
}

// Set is all rule files.
type Set struct {
	// Files are in the order of their dependencies: thresholds, adapters, native histograms, signals, alerts.
	Files []File
}

// Load parses the embedded rule files.
func Load() (Set, error) {
	var s Set
	for _, pattern := range []string{"thresholds.yaml", "adapters/*.yaml", "native/*.yaml", "signals/*.yaml", "alerts/*.yaml"} {
		names, err := fs.Glob(rules.FS, pattern)
		if err != nil {
			return Set{}, fmt.Errorf("list %s: %w", pattern, err)
		}
		slices.Sort(names)
		for _, name := range names {
			groups, err := parse(name)
			if err != nil {
				return Set{}, err
			}
			s.Files = append(s.Files, File{Name: name, Groups: groups})
		}
	}
	return s, nil
}

// Groups returns the groups of all files in order.
func (s Set) Groups() []rulefmt.RuleGroup {
	var groups []rulefmt.RuleGroup
	for _, f := range s.Files {
		groups = append(groups, f.Groups...)
	}
	return groups
}

// WriteDir writes the rule files into dir, which it creates if necessary. It returns their paths for the rule_files of a Prometheus
// configuration.
func (s Set) WriteDir(dir string) ([]string, error) {
	var paths []string
	for _, f := range s.Files {
		text, err := yaml.Marshal(rulefmt.RuleGroups{Groups: f.Groups})
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", f.Name, err)
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("write the rules: %w", err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return nil, fmt.Errorf("write the rules: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func parse(name string) ([]rulefmt.RuleGroup, error) {
	text, err := rules.FS.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return nil, fmt.Errorf("parse %s: %w", name, errors.Join(errs...))
	}
	return groups.Groups, nil
}
