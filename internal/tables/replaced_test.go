package tables

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// flaky is a database whose first statements fail, as DuckDB's do on a file that is replaced while it is opened.
type flaky struct{ failures, statements int }

var errReplaced = errors.New("TProtocolException: Invalid data")

func (f *flaky) Connect(context.Context) (driver.Conn, error) { return f, nil }
func (f *flaky) Driver() driver.Driver                        { return nil }
func (f *flaky) Prepare(string) (driver.Stmt, error)          { return nil, errors.ErrUnsupported }
func (f *flaky) Begin() (driver.Tx, error)                    { return nil, errors.ErrUnsupported }
func (f *flaky) Close() error                                 { return nil }
func (f *flaky) Columns() []string                            { return []string{"rows"} }

func (f *flaky) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	f.statements++
	if f.statements <= f.failures {
		return nil, errReplaced
	}
	return &oneValue{flaky: f}, nil
}

type oneValue struct {
	*flaky
	read bool
}

func (r *oneValue) Next(values []driver.Value) error {
	if r.read {
		return io.EOF
	}
	r.read, values[0] = true, int64(7)
	return nil
}

func TestAFileThatIsReplacedWhileItIsOpenedGetsASecondTry(t *testing.T) {
	for name, tc := range map[string]struct {
		typ                  Type
		failures, statements int
		wantErr              bool
	}{
		"a file that can be read is read once":        {DuckDB, 0, 1, false},
		"a file that was just replaced is read again": {DuckDB, 1, 2, false},
		"a file that is broken is an error":           {DuckDB, 9, 2, true},
		"a server returns its error the first time":   {PostgreSQL, 1, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			db := &flaky{failures: tc.failures}
			s := &Source{db: sql.OpenDB(db), dialect: duckDB{}, typ: tc.typ, secrets: redactor("")}
			defer func() { require.NoError(t, s.Close()) }()
			rows, err := s.Rows(t.Context(), Relation{from: "'x.parquet'"}, Window{})
			require.Equal(t, tc.statements, db.statements)
			if tc.wantErr {
				require.ErrorIs(t, err, errReplaced)
				return
			}
			require.NoError(t, err)
			require.Equal(t, int64(7), rows)
		})
	}
}
