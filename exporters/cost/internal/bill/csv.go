package bill

import (
	"bytes"
	"errors"
	"io"
)

// maxLine is the longest record of a CSV file, in bytes.
const maxLine = 1 << 20

// readAhead is the number of bytes that one read requests.
const readAhead = 256 << 10

// records splits CSV into records. It differs from encoding/csv in three ways. Fields keep their bytes, including
// quotes, so that the meaning of a field is computed once and looked up by its bytes. A malformed record costs only the
// line on which it begins. It needs less than half of the time: see BenchmarkSplit.
type records struct {
	in    io.Reader
	delim byte

	buf        []byte
	begin, end int // bytes that were read and are not in a record yet
	eof        bool

	// fields are the fields of the current record, valid until the next one. A quoted field keeps its quotes.
	fields [][]byte
	// line is the line on which the record begins. bad is the reason why it is not a record, and raw is that line.
	line, next int64
	bad        string
	raw        []byte
}

// Reasons why a line is not a record.
const (
	badLong  = "a record of at most 1 MiB"
	badOpen  = "a quote that is closed"
	badQuote = "a closing quote before a delimiter or the end of the line, and a quote within a value doubled"
)

func newRecords(in io.Reader, delim byte) *records {
	return &records{in: in, delim: delim, buf: make([]byte, readAhead), next: 1}
}

// errLong means that no line ends within maxLine.
var errLong = errors.New("line too long")

// lineEnd returns the end of the line at the offset: its line feed, or the end of the file. Offsets are relative to the
// beginning of the record.
func (r *records) lineEnd(offset int) (int, error) {
	for {
		if n := bytes.IndexByte(r.buf[min(r.begin+offset, r.end):r.end], '\n'); n >= 0 {
			return offset + n, nil
		}
		offset = max(offset, r.end-r.begin)
		if r.eof {
			return r.end - r.begin, io.EOF
		}
		if r.end-r.begin > maxLine {
			return 0, errLong
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
}

// fill reads more of the input.
func (r *records) fill() error {
	if r.begin > 0 {
		r.end = copy(r.buf, r.buf[r.begin:r.end])
		r.begin = 0
	}
	if r.end == len(r.buf) {
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	for range 100 {
		n, err := r.in.Read(r.buf[r.end:])
		r.end += n
		if err == io.EOF {
			r.eof = true
			return nil
		}
		if err != nil || n > 0 {
			return err
		}
	}
	return io.ErrNoProgress
}

// read advances to the next record. It returns io.EOF after the last one, and another error if the file cannot be read.
func (r *records) read() error {
	for {
		r.line, r.bad = r.next, ""
		end, err := r.lineEnd(0)
		switch {
		case errors.Is(err, errLong):
			return r.skipLong()
		case errors.Is(err, io.EOF) && end == 0:
			return io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		if len(trimReturn(r.buf[r.begin:r.begin+end])) == 0 {
			r.consume(end, 1)
			continue
		}
		return r.split(end)
	}
}

// split splits the record that begins on this line into fields.
func (r *records) split(firstEnd int) error {
	r.fields = r.fields[:0]
	record := trimReturn(r.buf[r.begin : r.begin+firstEnd])
	end, lines, at := firstEnd, int64(1), 0
	for {
		if at == len(record) || record[at] != '"' {
			n := bytes.IndexByte(record[at:], r.delim)
			if n < 0 {
				r.fields = append(r.fields, record[at:])
				break
			}
			r.fields = append(r.fields, record[at:at+n])
			at += n + 1
			continue
		}
		// Find the closing quote, which may be on a later line.
		closing := at + 1
		for {
			n := bytes.IndexByte(record[closing:], '"')
			if n < 0 {
				from := end + 1
				next, err := r.lineEnd(from)
				if errors.Is(err, errLong) || errors.Is(err, io.EOF) && next < from || next == end {
					return r.reject(firstEnd, badOpen)
				}
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				// Reading more may have moved the buffer, and with it the fields.
				old := record
				record = r.buf[r.begin : r.begin+next]
				r.rebase(old, record)
				closing, end, lines = end, next, lines+1
				record = trimReturn(record)
				closing = min(closing, len(record))
				continue
			}
			closing += n + 1
			if closing < len(record) && record[closing] == '"' {
				closing++
				continue
			}
			break
		}
		r.fields = append(r.fields, record[at:closing])
		if closing == len(record) {
			break
		}
		if record[closing] != r.delim {
			return r.reject(firstEnd, badQuote)
		}
		at = closing + 1
	}
	r.raw = record
	r.consume(end, lines)
	return nil
}

// rebase moves the fields to the new position of the record.
func (r *records) rebase(old, record []byte) {
	if len(old) == 0 || &old[0] == &record[0] {
		return
	}
	at := 0
	for i, f := range r.fields {
		r.fields[i] = record[at : at+len(f)]
		at += len(f) + 1
	}
}

// consume advances past a record that ends with the line feed at an offset.
func (r *records) consume(end int, lines int64) {
	r.begin = min(r.begin+end+1, r.end)
	r.next += lines
}

// reject advances past one line that is not a record.
func (r *records) reject(end int, why string) error {
	r.raw, r.bad = r.buf[r.begin:r.begin+end], why
	r.consume(end, 1)
	return nil
}

// skipLong advances past a line that does not fit into memory.
func (r *records) skipLong() error {
	r.raw, r.bad = bytes.Clone(r.buf[r.begin:r.begin+maxValue]), badLong
	for {
		n := bytes.IndexByte(r.buf[r.begin:r.end], '\n')
		if n >= 0 {
			r.consume(n, 1)
			return nil
		}
		r.begin, r.end = 0, 0
		if r.eof {
			return nil
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

func trimReturn(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// unquoter removes the quotes of fields.
type unquoter struct{ buf []byte }

// text is the value of a field, valid until the next call.
func (u *unquoter) text(field []byte) []byte {
	if len(field) < 2 || field[0] != '"' {
		return field
	}
	field = field[1 : len(field)-1]
	n := bytes.IndexByte(field, '"')
	if n < 0 {
		return field
	}
	// A quote within quotes is doubled. Such quotes are close together, so copying byte by byte is fastest.
	u.buf = append(u.buf[:0], field[:n]...)
	for ; n < len(field); n++ {
		u.buf = append(u.buf, field[n])
		if field[n] == '"' {
			n++
		}
	}
	return u.buf
}
