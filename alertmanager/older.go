package alertmanager

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// older makes of the files what Alertmanager 0.25 of Debian 12 reads: its inhibition rules have no names, and its templates no
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

// WriteOlder writes the files to a folder as Alertmanager 0.25 reads them. A file that is there already is an error.
func WriteOlder(dir string) error {
	err := fs.WalkDir(Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := Files.ReadFile(name)
		if err != nil {
			return err
		}
		for _, change := range older {
			content = change.pattern.ReplaceAll(content, []byte(change.text))
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = file.Write(content)
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("write the configuration for Alertmanager 0.25: %w", err)
	}
	return nil
}
