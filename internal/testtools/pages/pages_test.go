package pages

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFind(t *testing.T) {
	for sentence, c := range map[string]struct {
		page string
		want [][]string
	}{
		"a block without a language is a command if it begins with a program": {"```\nmake build # all\n```", [][]string{{"make", "build"}}},
		"a diagram has no commands":            {"```\n tables ──► exporters\nmake build\n```", nil},
		"output of a console is not a command": {"```console\n$ make build\nmake: done\n```", [][]string{{"make", "build"}}},
		"a block of shell is all command":      {"```sh\nunknown 'a b' | grep x > out.txt\n```", [][]string{{"unknown", "a b"}, {"grep", "x"}}},
		"a line goes on":                       {"```sh\nmake \\\n  build && cd x\n```", [][]string{{"make", "build"}, {"cd", "x"}}},
		"a command in the text":                {"Call `sudo`, `make` or `bin/make build …`.", [][]string{{"bin/make", "build"}}},
		"a name with a blank is refused":       {"`ml_rows total`", nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			root := t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(root, "docs"), 0o755))
			for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"} {
				require.NoError(t, os.WriteFile(filepath.Join(root, name), nil, 0o644))
			}
			require.NoError(t, os.WriteFile(filepath.Join(root, "docs", "page.md"), []byte(c.page), 0o644))
			found, err := Find(root, []string{"make"})
			require.NoError(t, err)
			var got [][]string
			for _, command := range found {
				require.Equal(t, "docs/page.md", command.Page)
				got = append(got, command.Words)
			}
			require.Equal(t, c.want, got)
		})
	}
}
