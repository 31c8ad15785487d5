"""Time pandas and Evidently on a Parquet file: prints seconds to read and seconds to compute drift.

The first half of the rows is the reference and the second half the current data, so that both together are the file.
"""

import sys
import time

import pandas as pd
from evidently import Dataset, Report
from evidently.presets import DataDriftPreset, DataSummaryPreset

start = time.perf_counter()
frame = pd.read_parquet(sys.argv[1]).drop(columns=["event_time"])
for column in frame.columns:
    if frame[column].dtype == object and column == "price":
        frame[column] = frame[column].astype(float)
read = time.perf_counter() - start

start = time.perf_counter()
half = len(frame) // 2
report = Report([DataSummaryPreset(), DataDriftPreset()])
report.run(Dataset.from_pandas(frame[half:]), Dataset.from_pandas(frame[:half])).dict()
print(read, time.perf_counter() - start)
