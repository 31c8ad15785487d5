// Package pages finds the commands in the documentation, so that tests can check them.
//
// Input: the Markdown files of the repository. Output: each command of a shell block, and each quoted command in the text that begins with
// a program and has arguments. State: none.
package pages

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Command is one command of a page, without the pipes, redirections and comments around it.
type Command struct {
	Page  string
	Words []string
}

func (c Command) String() string { return c.Page + ": " + strings.Join(c.Words, " ") }

// Program is the name of the program, wherever it lies.
func (c Command) Program() string { return strings.TrimPrefix(c.Words[0], "bin/") }

var (
	fence  = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```")
	inline = regexp.MustCompile("`([^`\n]+)`")
	// placeholder matches any number of arguments.
	placeholder = regexp.MustCompile(`^(…|\.\.\.)$`)
)

// Find lists the commands of all pages. Shell blocks contain only commands. In blocks without a language and in the text, a command begins
// with one of programs.
func Find(root string, programs []string) ([]Command, error) {
	var out []Command
	paths, err := markdown(root)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		body, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return nil, err
		}
		page := string(body)
		for _, block := range fence.FindAllStringSubmatch(page, -1) {
			for _, line := range lines(block[1], block[2], programs) {
				out = append(out, split(path, line)...)
			}
		}
		for _, code := range inline.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
			if words := strings.Fields(code[1]); len(words) > 1 && begins(words, programs) {
				out = append(out, split(path, code[1])...)
			}
		}
	}
	return out, nil
}

func markdown(root string) ([]string, error) {
	paths := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			name, relErr := filepath.Rel(root, path)
			paths, err = append(paths, name), relErr
		}
		return err
	})
	return paths, err
}

func begins(words []string, programs []string) bool {
	return slices.Contains(programs, strings.TrimPrefix(words[0], "bin/"))
}

// lines returns the command lines of a block: all lines of a shell block, the lines with a prompt of a console block, and all lines of a
// block without a language if it begins with a program.
func lines(language, block string, programs []string) []string {
	block = strings.ReplaceAll(block, "\\\n", " ")
	var out []string
	for line := range strings.Lines(block) {
		line = strings.TrimSpace(line)
		switch prompt := strings.HasPrefix(line, "$ "); {
		case language == "console" && !prompt, line == "", strings.HasPrefix(strings.TrimPrefix(line, "$ "), "#"):
		case language == "" && len(out) == 0 && !prompt && !begins(strings.Fields(line), programs):
			return nil
		case language == "" || language == "sh" || language == "bash" || language == "shell" || language == "console":
			out = append(out, strings.TrimPrefix(line, "$ "))
		}
	}
	return out
}

// split divides a command line at pipes and similar operators.
func split(page, line string) []Command {
	var out []Command
	var words []string
	end := func() {
		if len(words) > 0 {
			out = append(out, Command{page, words})
		}
		words = nil
	}
	skip := false
	for _, word := range shellWords(line) {
		switch {
		case skip:
			skip = false
		case strings.HasPrefix(word, "#"):
			end()
			return out
		case word == "|" || word == "&&" || word == ";":
			end()
		case word == ">":
			skip = true
		case word == "sudo" && len(words) == 0, placeholder.MatchString(word):
		default:
			words = append(words, word)
		}
	}
	end()
	return out
}

// shellWords divides a line at unquoted blanks.
func shellWords(line string) []string {
	var out []string
	var word strings.Builder
	var quote rune
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote == 0 && r == ' ':
			if word.Len() > 0 {
				out = append(out, word.String())
			}
			word.Reset()
		default:
			word.WriteRune(r)
		}
	}
	return out
}
