// Package sqltext quotes names and texts for SQL.
//
// Input: a name or a text of any content. Output: SQL in the form of the standard, which DuckDB, PostgreSQL and Trino read. State:
// none. Databases with another form have theirs in the dialects of package tables.
package sqltext

import "strings"

// Identifier quotes the name of a table or column.
func Identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal quotes a text.
func Literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
