"""Writes the Arrow files of arrow_test.go with pyarrow and pandas, and each table as Parquet to compare with.

Run with the Python of tools/python in this folder: python make.py
"""
import datetime, decimal
import pandas as pd, pyarrow as pa, pyarrow.feather as feather, pyarrow.ipc as ipc, pyarrow.parquet as pq

at = datetime.datetime(2026, 11, 24, 5, 30, 0, 123456)
utc = at.replace(tzinfo=datetime.timezone.utc)
types = pa.table({
    "flag": pa.array([True, False, None], pa.bool_()),
    "tiny": pa.array([-1, None, 7], pa.int8()),
    "count": pa.array([1, None, 18446744073709551615], pa.uint64()),
    "big": pa.array([-9223372036854775808, 0, None], pa.int64()),
    "half": pa.array([1.5, None, 2.0], pa.float16()),
    "single": pa.array([1.5, float("nan"), None], pa.float32()),
    "amount": pa.array([2.5, float("nan"), float("inf")], pa.float64()),
    "price": pa.array([decimal.Decimal("12.34"), None, decimal.Decimal("-0.01")], pa.decimal128(10, 2)),
    "long_price": pa.array([decimal.Decimal("12345678901234567890.12"), None, None], pa.decimal128(38, 2)),
    "text": pa.array(["Laval", None, ""], pa.string()),
    "large_text": pa.array(["é" * 20, "x", None], pa.large_string()),
    "blob": pa.array([b"\x00\xff", None, b""], pa.binary()),
    "fixed": pa.array([b"abcd", None, b"efgh"], pa.binary(4)),
    "country": pa.array(["CA", None, "US"], pa.string()).dictionary_encode(),
    "day": pa.array([at.date(), None, datetime.date(1969, 12, 31)], pa.date32()),
    "day64": pa.array([at.date(), None, datetime.date(1969, 12, 31)], pa.date64()),
    "second": pa.array([at.replace(microsecond=0), None, datetime.datetime(1969, 12, 31)], pa.timestamp("s")),
    "milli": pa.array([at.replace(microsecond=123000), None, None], pa.timestamp("ms")),
    "micro": pa.array([at, None, None], pa.timestamp("us")),
    "nano": pa.array([at, None, None], pa.timestamp("ns")),
    "zoned": pa.array([utc, None, None], pa.timestamp("us", "America/Toronto")),
    "zoned_nano": pa.array([utc, None, None], pa.timestamp("ns", "UTC")),
    "clock": pa.array([at.time(), None, datetime.time(0)], pa.time64("us")),
    "clock_ms": pa.array([at.time().replace(microsecond=0), None, datetime.time(0)], pa.time32("ms")),
    "list": pa.array([[1, None], None, []], pa.list_(pa.int64())),
    "fixed_list": pa.array([[1, 2], None, [None, 4]], pa.list_(pa.int32(), 2)),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}], pa.struct([("a", pa.int32()), ("b", pa.string())])),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "nested": pa.array([[{"a": [1, 2]}, None], [], None], pa.list_(pa.struct([("a", pa.list_(pa.int16()))]))),
})
pq.write_table(types, "types.parquet")
for codec in ["uncompressed", "lz4", "zstd"]:
    feather.write_feather(types, f"types.{codec}.feather", compression=codec)
with ipc.new_stream("types.arrows", types.schema) as w:
    w.write_table(types, max_chunksize=1)  # A dictionary and a batch for each row.
with ipc.new_file("types.arrow", types.schema, options=ipc.IpcWriteOptions(compression="zstd")) as w:
    w.write_table(types, max_chunksize=2)

# Types that pyarrow does not write to Parquet as they are, and the ones that stand for them there.
views = pa.table({
    "view": pa.array(["short", None, "longer than the twelve bytes of a view"], pa.string_view()),
    "bytes": pa.array([b"short", None, b"longer than the twelve bytes of a view"], pa.binary_view()),
    "list": pa.array([["x", None], None, []], pa.large_list(pa.string_view())),
    "money": pa.array([decimal.Decimal("12.34"), None, decimal.Decimal("-0.01")], pa.decimal64(10, 2)),
    "waited": pa.array([datetime.timedelta(seconds=1), None, datetime.timedelta(0)], pa.duration("ns")),
    "code": pa.DictionaryArray.from_arrays(pa.array([1, None, 0, ], pa.int16()), pa.array([10, 20], pa.int32())),
    "gap": pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int8()), pa.array(["x", None])),
})
pq.write_table(pa.table({
    "view": views["view"].cast(pa.string()), "bytes": views["bytes"].cast(pa.binary()),
    "list": pa.array([["x", None], None, []], pa.list_(pa.string())),
    "money": views["money"].cast(pa.decimal128(10, 2)), "waited": views["waited"].cast(pa.int64()),
    "code": pa.array([20, None, 10], pa.int32()), "gap": pa.array([None, "x", None], pa.string()),
}), "views.parquet")
with ipc.new_file("views.arrow", views.schema) as w:
    w.write_table(views)

feather.write_feather(types.slice(0, 0), "empty.feather")
pq.write_table(types.slice(0, 0), "empty.parquet")
feather.write_feather(pa.table({"a": pa.array([1]), "b": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])}), "union.feather", compression="uncompressed")
feather.write_feather(pd.DataFrame({"a": [1]}), "version1.feather", version=1)

# As pandas writes missing values: NaN in a float column that is all missing, and in every second row of another.
pd.DataFrame({"lost": [float("nan")] * 200, "half": [float(i) if i % 2 else float("nan") for i in range(200)],
              "country": pd.Categorical(["CA", "US"] * 100), "at": pd.Timestamp("2026-11-24 11:00")}).to_feather("nan.feather")
# to_feather makes NaN a null; Arrow itself keeps it.
nan = pa.table({"lost": pa.array([float("nan")] * 200), "half": pa.array([float(i) if i % 2 else float("nan") for i in range(200)])})
with ipc.new_file("nan.arrow", nan.schema) as w:
    w.write_table(nan)

# As pandas writes a column of None only: of no type.
feather.write_feather(pa.table({"qty": pa.array([None, None], pa.null()), "note": pa.array(["a", "b"])}), "null.feather")
pq.write_table(pa.table({"qty": pa.array([None, None], pa.null())}), "null.parquet")
feather.write_feather(pa.table({"qty": pa.array([1, 2]), "note": pa.array(["a", "b"])}), "typed.feather")
