package arrowfile

import (
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// plainSchema converts the schema to types that Parquet has and that the writer supports.
func plainSchema(s *arrow.Schema) (*arrow.Schema, error) {
	fields := make([]arrow.Field, s.NumFields())
	for i, f := range s.Fields() {
		var err error
		if fields[i], err = plainField(f); err != nil {
			return nil, unreadable("column %q: %w", f.Name, err)
		}
	}
	if len(fields) == 0 {
		return nil, unreadable("it has no column")
	}
	return arrow.NewSchema(fields, nil), nil
}

// plainField converts a field. The result is always nullable, because a file can contain nulls in a field that it declares as not null.
func plainField(f arrow.Field) (arrow.Field, error) {
	t, err := plainType(f.Type)
	return arrow.Field{Name: f.Name, Type: t, Nullable: true}, err
}

func plainType(t arrow.DataType) (arrow.DataType, error) {
	switch t := t.(type) {
	case arrow.ExtensionType:
		return plainType(t.StorageType())
	case *arrow.DictionaryType:
		if _, nested := t.ValueType.(arrow.NestedType); nested {
			return nil, unsupported(t)
		}
		switch t.ValueType.ID() {
		case arrow.STRING:
			return arrow.BinaryTypes.LargeString, nil
		case arrow.BINARY, arrow.FIXED_SIZE_BINARY:
			return arrow.BinaryTypes.LargeBinary, nil
		}
		return plainType(t.ValueType)
	case *arrow.StringViewType:
		return arrow.BinaryTypes.LargeString, nil
	case *arrow.BinaryViewType:
		return arrow.BinaryTypes.LargeBinary, nil
	case *arrow.DurationType:
		return arrow.PrimitiveTypes.Int64, nil
	case *arrow.Decimal32Type:
		return &arrow.Decimal128Type{Precision: t.Precision, Scale: t.Scale}, nil
	case *arrow.Decimal64Type:
		return &arrow.Decimal128Type{Precision: t.Precision, Scale: t.Scale}, nil
	case *arrow.MapType:
		key, err := plainType(t.KeyType())
		if err != nil {
			return nil, err
		}
		item, err := plainType(t.ItemType())
		if err != nil {
			return nil, err
		}
		return arrow.MapOf(key, item), nil
	case *arrow.ListType, *arrow.LargeListType, *arrow.FixedSizeListType:
		element, err := plainType(t.(arrow.ListLikeType).Elem())
		if err != nil {
			return nil, err
		}
		return arrow.ListOf(element), nil
	case *arrow.StructType:
		fields := make([]arrow.Field, t.NumFields())
		for i, f := range t.Fields() {
			var err error
			if fields[i], err = plainField(f); err != nil {
				return nil, err
			}
		}
		if len(fields) == 0 {
			return nil, unsupported(t)
		}
		return arrow.StructOf(fields...), nil
	case *arrow.RunEndEncodedType, *arrow.ListViewType, *arrow.LargeListViewType, arrow.UnionType,
		*arrow.MonthIntervalType, *arrow.DayTimeIntervalType, *arrow.MonthDayNanoIntervalType:
		return nil, unsupported(t)
	}
	return t, nil
}

func unsupported(t arrow.DataType) error {
	return fmt.Errorf("its type %s has no counterpart in Parquet; write the file without it, or as text", t)
}

// plainRows converts the rows to the columns of the plain schema.
func plainRows(rows arrow.RecordBatch, schema *arrow.Schema, mem *budget) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, rows.NumCols())
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i := range columns {
		var err error
		if columns[i], err = plainArray(rows.Column(i), schema.Field(i).Type, mem); err != nil {
			return nil, unreadable("column %q: %w", schema.Field(i).Name, err)
		}
	}
	return array.NewRecordBatch(schema, columns, rows.NumRows()), nil
}

// plainArray converts the array to the plain type.
func plainArray(a arrow.Array, to arrow.DataType, mem *budget) (arrow.Array, error) {
	switch a := a.(type) {
	case array.ExtensionArray:
		return plainArray(a.Storage(), to, mem)
	case *array.Dictionary:
		values, err := gather(a, mem)
		if err != nil {
			return nil, err
		}
		defer values.Release()
		return plainArray(values, to, mem)
	case *array.StringView:
		b := array.NewLargeStringBuilder(mem)
		defer b.Release()
		return built(b, a.Len(), a.IsNull, func(i int) { b.Append(a.Value(i)) }), nil
	case *array.BinaryView:
		b := array.NewBinaryBuilder(mem, arrow.BinaryTypes.LargeBinary)
		defer b.Release()
		return built(b, a.Len(), a.IsNull, func(i int) { b.Append(a.Value(i)) }), nil
	case *array.Decimal32:
		b := array.NewDecimal128Builder(mem, to.(*arrow.Decimal128Type))
		defer b.Release()
		return built(b, a.Len(), a.IsNull, func(i int) { b.Append(decimal128.FromI64(int64(a.Value(i)))) }), nil
	case *array.Decimal64:
		b := array.NewDecimal128Builder(mem, to.(*arrow.Decimal128Type))
		defer b.Release()
		return built(b, a.Len(), a.IsNull, func(i int) { b.Append(decimal128.FromI64(int64(a.Value(i)))) }), nil
	case *array.Duration:
		return array.MakeFromData(array.NewData(to, a.Len(), a.Data().Buffers(), nil, a.NullN(), a.Data().Offset())), nil
	case *array.Struct:
		children := make([]arrow.ArrayData, a.NumField())
		for i := range children {
			child, err := plainArray(a.Field(i), to.(*arrow.StructType).Field(i).Type, mem)
			if err != nil {
				return nil, err
			}
			children[i] = child.Data() // The garbage collector frees it with the arrays of the batch.
		}
		return array.MakeFromData(array.NewData(to, a.Len(), []*memory.Buffer{validity(a)}, children, a.NullN(), 0)), nil
	case array.ListLike:
		return plainList(a, to, mem)
	}
	a.Retain()
	return a, nil
}

// plainList converts a list with any width of offsets, or a map. A missing list gets no elements, as Parquet requires.
func plainList(a array.ListLike, to arrow.DataType, mem *budget) (arrow.Array, error) {
	offsets := make([]int32, a.Len()+1)
	var parts []arrow.Array // Slices of consecutive elements.
	defer func() {
		for _, p := range parts {
			p.Release()
		}
	}()
	var begin, end int64
	add := func() {
		if end > begin {
			parts = append(parts, array.NewSlice(a.ListValues(), begin, end))
		}
	}
	for i := range a.Len() {
		offsets[i+1] = offsets[i]
		from, until := a.ValueOffsets(i)
		switch {
		case a.IsNull(i):
			continue
		case from < 0 || until < from || until-from > math.MaxInt32-int64(offsets[i]):
			return nil, fmt.Errorf("a list has the elements %d to %d", from, until)
		case from != end:
			add()
			begin = from
		}
		end = until
		mem.take(4 * int(until-from)) // The bytes that Parquet needs for each element besides its value.
		offsets[i+1] += int32(until - from)
	}
	add()
	var elements arrow.Array
	switch len(parts) {
	case 0:
		elements = array.NewSlice(a.ListValues(), 0, 0)
	case 1:
		elements = parts[0]
		elements.Retain()
	default:
		var err error
		if elements, err = array.Concatenate(parts, mem); err != nil {
			return nil, err
		}
	}
	defer elements.Release()
	child, err := plainArray(elements, to.(arrow.ListLikeType).Elem(), mem)
	if err != nil {
		return nil, err
	}
	buffers := []*memory.Buffer{validity(a), memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets))}
	return array.MakeFromData(array.NewData(to, a.Len(), buffers, []arrow.ArrayData{child.Data()}, a.NullN(), 0)), nil
}

// built returns an array of n values.
func built(b array.Builder, n int, missing func(i int) bool, appendValue func(i int)) arrow.Array {
	b.Reserve(n)
	for i := range n {
		if missing(i) {
			b.AppendNull()
		} else {
			appendValue(i)
		}
	}
	return b.NewArray()
}

// validity returns the bitmap of an array's valid values, with offset 0. It is nil if no value is missing.
func validity(a arrow.Array) *memory.Buffer {
	if a.NullN() == 0 {
		return nil
	}
	bits := make([]byte, bitutil.BytesForBits(int64(a.Len())))
	for i := range a.Len() {
		bitutil.SetBitTo(bits, i, a.IsValid(i))
	}
	return memory.NewBufferBytes(bits)
}

// gather returns the array of the values that a dictionary's indices refer to. The library's function runs in goroutines, where a panic
// on a damaged file ends the process.
func gather(by *array.Dictionary, mem *budget) (arrow.Array, error) {
	missing := func(i int) bool { return by.IsNull(i) || by.Dictionary().IsNull(by.GetValueIndex(i)) }
	n := by.Len()
	switch values := by.Dictionary().(type) {
	case *array.Null:
		return array.NewNull(n), nil
	case *array.Boolean:
		b := array.NewBooleanBuilder(mem)
		defer b.Release()
		return built(b, n, missing, func(i int) { b.Append(values.Value(by.GetValueIndex(i))) }), nil
	case interface{ Value(int) string }:
		b := array.NewLargeStringBuilder(mem)
		defer b.Release()
		return built(b, n, missing, func(i int) { b.Append(values.Value(by.GetValueIndex(i))) }), nil
	case interface{ Value(int) []byte }:
		b := array.NewBinaryBuilder(mem, arrow.BinaryTypes.LargeBinary)
		defer b.Release()
		return built(b, n, missing, func(i int) { b.Append(values.Value(by.GetValueIndex(i))) }), nil
	}
	values := by.Dictionary().Data()
	t, ok := values.DataType().(arrow.FixedWidthDataType)
	if !ok {
		return nil, unsupported(by.DataType())
	}
	width := t.BitWidth() / 8
	var from []byte
	if b := values.Buffers()[1]; b != nil {
		from = b.Bytes()[values.Offset()*width:]
	}
	to, valid := make([]byte, n*width), make([]byte, bitutil.BytesForBits(int64(n)))
	nulls := 0
	for i := range n {
		if missing(i) {
			nulls++
			continue
		}
		bitutil.SetBit(valid, i)
		at := by.GetValueIndex(i) * width
		copy(to[i*width:(i+1)*width], from[at:at+width])
	}
	return array.MakeFromData(array.NewData(t, n, []*memory.Buffer{memory.NewBufferBytes(valid), memory.NewBufferBytes(to)}, nil, nulls, 0)), nil
}
