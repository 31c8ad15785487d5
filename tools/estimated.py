#!/usr/bin/env python3
"""Compares the estimated performance of rules/signals/estimated.yaml with the true one, on flights.

Input: a Parquet file of flights with date, delay in minutes, distance, origin and destination, such as
replay/scenarios/data/flights.parquet or the 3 million flights of Vega's datasets. A classifier of the first days predicts which flights are
more than 15 minutes late. For every day after that the accuracy is estimated as the rules do, from the predictions of the week before last,
whose labels are there, and the confidences of the day. Output: a line a month, and the errors of the estimate beside those of the plain
guess that accuracy stays what it was in the labelled week.
"""

import argparse

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

# exporters/modelquality/internal/metering: ratioBuckets; rules/thresholds.yaml: calibration_min_rows, calibration_coverage_ratio, labelled_min_rows, performance_drop_ratio.
BOUNDS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1])
MIN_ROWS, MIN_COVERAGE, MIN_COUNT, LIMIT = 30, 0.95, 100, 0.05


def estimate(labelled, present):
    """Returns what of_confidence does, and the error of the estimate of the later half of what is labelled by the earlier half.

    labelled has the days of the labelled window, present the day that is estimated.
    """
    later = labelled.day >= (labelled.day.min() + labelled.day.max() + 1) / 2
    value, half, accuracy, reliable = of_confidence(labelled, present)
    past, _, _, _ = of_confidence(labelled[~later], labelled[later])
    return value, half, accuracy, reliable, abs(past - labelled[later].right.mean())


def of_confidence(labelled, present):
    """Returns the estimate, half its interval by chance, the accuracy of what is labelled, and whether enough is labelled."""
    bins = len(BOUNDS)
    at = np.searchsorted(BOUNDS, labelled.confidence)
    rows, right = np.bincount(at, minlength=bins), np.bincount(at, weights=labelled.right, minlength=bins)
    share = np.bincount(np.searchsorted(BOUNDS, present.confidence), minlength=bins) / len(present)
    share = np.where(rows >= MIN_ROWS, share, 0)
    coverage, known = share.sum(), np.maximum(rows, 1)
    if coverage == 0:
        return np.nan, np.nan, labelled.right.mean(), False
    p = (right + 1) / (rows + 2)
    deviation = np.sqrt((share**2 * p * (1 - p) / known).sum() + (share * p * (1 - p)).sum() / len(present)) / coverage
    return (share * right / known).sum() / coverage, 1.96 * deviation, labelled.right.mean(), coverage >= MIN_COVERAGE and len(present) >= MIN_COUNT


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flights")
    parser.add_argument("--every", type=int, default=1, help="take one row in so many")
    parser.add_argument("--train-days", type=int, default=31)
    o = parser.parse_args()
    flights = pd.read_parquet(o.flights).iloc[:: o.every].reset_index(drop=True)
    flights["day"] = (flights.date - flights.date.min().normalize()).dt.days
    x = pd.DataFrame({
        "hour": flights.date.dt.hour + flights.date.dt.minute / 60, "weekday": flights.date.dt.day_of_week, "distance": flights.distance,
        "origin": flights.origin.astype("category").cat.codes % 255, "destination": flights.destination.astype("category").cat.codes % 255,
    })
    late, training = flights.delay > 15, flights.day < o.train_days
    model = HistGradientBoostingClassifier(random_state=0).fit(x[training], late[training])
    chance = model.predict_proba(x)[:, 1]
    scored = pd.DataFrame({"day": flights.day, "month": flights.date.dt.strftime("%Y-%m"), "confidence": np.maximum(chance, 1 - chance), "right": (chance > 0.5) == late})
    days = []
    for day in range(o.train_days + 14, scored.day.max() + 1):
        present, labelled = scored[scored.day == day], scored[(scored.day >= day - 14) & (scored.day < day - 7)]
        if len(present) and len(labelled):
            value, half, before, reliable, past_error = estimate(labelled, present)
            days.append({"month": present.month.iloc[0], "true": present.right.mean(), "estimated": value, "half": half, "labelled": before, "reliable": reliable, "past_error": past_error})
    days = pd.DataFrame(days)
    days["error"], days["guess"] = (days.estimated - days.true).abs(), (days.labelled - days.true).abs()
    past_error = days.past_error.rolling(7, min_periods=1).max()
    days["half"] += past_error
    days["reliable"] &= past_error <= LIMIT * days.labelled
    days["inside"] = days.error <= days.half
    days["alert"] = days.reliable & (1 - days.estimated / days.labelled > LIMIT) & (days.estimated + days.half < days.labelled)
    days["dropped"] = 1 - days.true / days.labelled > LIMIT
    print(days.groupby("month").agg(days=("true", "size"), true=("true", "mean"), estimated=("estimated", "mean"), error=("error", "mean"),
          guess=("guess", "mean"), inside=("inside", "mean"), reliable=("reliable", "mean"),
          dropped=("dropped", "sum"), alert=("alert", "sum")).round(4).to_string())
    print(f"all: error {days.error.mean():.4f}, of the guess {days.guess.mean():.4f}, correlation {np.corrcoef(days.estimated - days.labelled, days.true - days.labelled)[0, 1]:.2f}, inside the interval {days.inside.mean():.2f}, reliable {days.reliable.mean():.2f}, "
          f"days with a drop {days.dropped.sum()}, told {(days.alert & days.dropped).sum()}, told wrongly {(days.alert & ~days.dropped).sum()}")


if __name__ == "__main__":
    main()
