package alertmanager

import (
	"fmt"
	"io/fs"
	"regexp"
)

// older converts the files for Alertmanager 0.25 of Debian 12: inhibition rules without names, and templates without
// humanizeDuration.
var older = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`(?m)^  - name: (\S+)\n    source_matchers:`), "  # $1\n  - source_matchers:"},
	{
		regexp.MustCompile(`\{\{- \.EndsAt\.Sub \.StartsAt \| humanizeDuration \| reReplaceAll "[^"]+" "" -\}\}`),
		"{{- $$whole := (.EndsAt.Sub .StartsAt).Truncate 1000000000 -}}\n{{- $$whole.String | reReplaceAll \"([hm])(0m)?0s$$\" \"$$1\" -}}",
	},
}

// Older returns the files by name for Alertmanager 0.25.
func Older(h Hours) (map[string][]byte, error) {
	out, err := Current(h)
	for name, content := range out {
		for _, change := range older {
			content = change.pattern.ReplaceAll(content, []byte(change.text))
		}
		out[name] = content
	}
	return out, err
}

// Current returns the files by name with the given hours.
func Current(h Hours) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := fs.WalkDir(Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		out[name], err = Files.ReadFile(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the Alertmanager configuration: %w", err)
	}
	return out, h.apply(out)
}
