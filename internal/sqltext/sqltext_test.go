package sqltext

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuotedTextCannotEscapeItsQuotes(t *testing.T) {
	t.Parallel()
	for have, want := range map[string][2]string{
		"amount":    {`"amount"`, `'amount'`},
		"":          {`""`, `''`},
		`a"b`:       {`"a""b"`, `'a"b'`},
		"O'Brien":   {`"O'Brien"`, `'O''Brien'`},
		`\'; DROP`:  {`"\'; DROP"`, `'\''; DROP'`},
		"größe; --": {`"größe; --"`, `'größe; --'`},
	} {
		require.Equal(t, want, [2]string{Identifier(have), Literal(have)})
	}
}
