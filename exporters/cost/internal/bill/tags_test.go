package bill

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tags that are read with the quotes of CSV have the same meaning as tags without them.
func FuzzEscapedTags(f *testing.F) {
	for _, text := range []string{`{"team": "search"}`, `{}`, `{"a":"","b" : "x y"}`, `{"a": "it's"}`, `{"a": "\""}`, `{"a": "b", }`, `{"a": 3}`, `{"a": "b"} x`, `{'a': 'b'}`, `{"a": "b""}`, `[{"key": "a"}]`, `{"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		type tag struct{ key, value string }
		var raw, plain []tag
		into := func(all *[]tag) func(key, value []byte) {
			return func(key, value []byte) { *all = append(*all, tag{string(key), string(value)}) }
		}
		if !readEscaped([]byte(`"`+strings.ReplaceAll(text, `"`, `""`)+`"`), into(&raw)) {
			return // It is read in the other way then.
		}
		require.True(t, readTags([]byte(text), into(&plain)))
		require.Equal(t, plain, raw)
	})
}
