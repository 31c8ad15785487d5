#!/usr/bin/env python3
"""Compares the estimated performance of rules/signals/estimated.yaml with the true one, on flights.

Input: a Parquet file of flights with date, delay in minutes, distance, origin and destination, such as
replay/scenarios/data/flights.parquet or the 3 million flights of Vega's datasets. A classifier of the first days predicts which flights are
more than 15 minutes late, a regressor how late they are. For every day after that their performance is estimated as the rules do, from the
predictions of the week before last, whose labels are there, and the predictions of the day. Output: for each metric a line a month and one
for all days, with the errors of the estimate, of the plain guess that all stayed what it was in the labelled week, and with --nannyml of
NannyML's CBPE and DLE, which have the same labelled week as their reference. With NannyML:

    tools/venv.sh /tmp/nannyml tools/estimated/requirements.txt && /tmp/nannyml/bin/python tools/estimated/compare.py FLIGHTS --nannyml
"""

import argparse
import logging
import os
import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

# exporters/modelquality/internal/metering: ratioBuckets; rules/thresholds.yaml: calibration_min_rows, calibration_coverage_ratio,
# labelled_min_rows, performance_drop_ratio, error_growth_ratio, drift_significance_z.
BOUNDS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1])
MIN_ROWS, MIN_COVERAGE, MIN_COUNT, LIMIT, ERROR_LIMIT, Z = 30, 0.95, 100, 0.05, 0.2, 3.09
# labels[].prediction_bins, in minutes.
MINUTES = np.array([0, 2, 4, 6, 8, 10, 12, 15, 20, 30])


def of_classes(rows):
    """Returns accuracy, and precision, recall and F1 as means of the two classes."""
    p, r, f = [], [], []
    for c in (False, True):
        right, predicted, actual = ((rows.predicted == c) & (rows.late == c)).sum(), (rows.predicted == c).sum(), (rows.late == c).sum()
        p += [right / predicted] if predicted else []
        r += [right / actual] if actual else []
        f += [2 * right / (predicted + actual)] if predicted + actual else []
    return {"accuracy": (rows.predicted == rows.late).mean(), "precision": np.mean(p), "recall": np.mean(r), "f1": np.mean(f)}


def estimate_classes(labelled, present):
    """Returns for each metric the estimate, its standard deviation, and the ratio of the predictions whose bins are known."""
    count = lambda rows: np.bincount(np.searchsorted(BOUNDS, rows.confidence), minlength=len(BOUNDS)).astype(float)
    ratio = lambda part, of: np.where(of >= MIN_ROWS, part / np.maximum(of, 1), np.nan)
    variance = lambda part, of: (part + 1) * (of - part + 1) / (of + 2) ** 2
    total = lambda n, known: np.where(np.isnan(known), 0, n).sum()
    sums = []
    for c in (False, True):
        own, others = labelled[labelled.predicted == c], labelled[labelled.predicted != c]
        s = {}
        for name, of, part, n in (
            ("right", count(own), count(own[own.late == c]), count(present[present.predicted == c])),
            ("missed", count(others), count(others[others.late == c]), count(present[present.predicted != c])),
        ):
            q = ratio(part, of)
            s[name], s["of_" + name] = np.nansum(n * q), total(n, q)
            s["var_" + name] = total((n**2 / np.maximum(of, 1) + n) * variance(part, of), q)
            s["coverage_" + name] = total(n, q) / n.sum() if n.sum() else np.nan
        sums.append(s)
    out = {name: [] for name in ("precision", "recall", "f1")}
    for s in sums:
        t, p, m, vt, vm = s["right"], s["of_right"], s["missed"], s["var_right"], s["var_missed"]
        both = np.nanmin([s["coverage_right"], s["coverage_missed"]])
        if p > 0:
            out["precision"].append((t / p, np.sqrt(vt) / p, s["coverage_right"]))
        if t + m > 0:
            out["recall"].append((t / (t + m), np.sqrt(m**2 * vt + t**2 * vm) / (t + m) ** 2, both))
        if p + t + m > 0:
            out["f1"].append((2 * t / (p + t + m), 2 * np.sqrt((p + m) ** 2 * vt + t**2 * vm) / (p + t + m) ** 2, both))
    known = sum(s["of_right"] for s in sums)
    result = {"accuracy": (np.nan, np.nan, 0)}
    if known:
        result["accuracy"] = (sum(s["right"] for s in sums) / known, np.sqrt(sum(s["var_right"] for s in sums)) / known, known / len(present))
    for name, classes in out.items():
        a = np.array(classes) if classes else np.full((1, 3), np.nan)
        result[name] = (a[:, 0].mean(), a[:, 1].mean(), a[:, 2].min())
    return result


def of_errors(rows):
    return {"mae": (rows.minutes - rows.delay).abs().mean()}


def estimate_errors(labelled, present):
    """Returns the same of the mean absolute error."""
    bins = len(MINUTES) + 1
    at, error = np.searchsorted(MINUTES, labelled.minutes), (labelled.minutes - labelled.delay).abs()
    rows, total, squares = (np.bincount(at, weights=w, minlength=bins) for w in (np.ones(len(at)), error, error**2))
    n = np.bincount(np.searchsorted(MINUTES, present.minutes), minlength=bins) * (rows >= MIN_ROWS)
    rows = np.maximum(rows, 1)
    mean = total / rows
    deviation = np.sqrt(((n**2 / rows + n) * np.maximum(squares / rows - mean**2, 0)).sum())
    known = max(n.sum(), 1)
    return {"mae": ((n * mean).sum() / known, deviation / known, n.sum() / len(present))}


def nannyml_estimators():
    """Returns a function that estimates a day from a reference, by NannyML."""
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "True"  # Else it reports what it is used for.
    import nannyml as nml

    def estimate(reference, present):
        of = ["chance", "predicted", "late", "delay", "minutes", "hour", "weekday", "distance", "origin", "destination"]
        reference, present = reference[of].astype({"predicted": int, "late": int}), present[of].astype({"predicted": int, "late": int})
        metrics = ["accuracy", "precision", "recall", "f1"]
        result = {}
        for swap in (False, True):  # It estimates those of the positive class; the mean of the classes needs the other one too.
            a, b = reference.copy(), present.copy()
            if swap:
                for rows in (a, b):
                    rows["chance"], rows["predicted"], rows["late"] = 1 - rows.chance, 1 - rows.predicted, 1 - rows.late
            cbpe = nml.CBPE(problem_type="classification_binary", y_pred_proba="chance", y_pred="predicted", y_true="late", metrics=metrics, chunk_number=1).fit(a)
            got = cbpe.estimate(b.drop(columns="late")).filter(period="analysis").to_df()
            for metric in metrics:
                result.setdefault(metric, []).append(got[(metric, "value")].iloc[0])
        result = {metric: np.mean(values) for metric, values in result.items()}
        dle = nml.DLE(feature_column_names=of[5:], y_pred="minutes", y_true="delay", metrics=["mae"], chunk_number=1, tune_hyperparameters=False, hyperparameters={"verbosity": -1, "n_jobs": 1}).fit(reference)
        result["mae"] = dle.estimate(present.drop(columns="delay")).filter(period="analysis").to_df()[("mae", "value")].iloc[0]
        return result

    return estimate


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flights")
    parser.add_argument("--every", type=int, default=1, help="take one row in so many")
    parser.add_argument("--train-days", type=int, default=31)
    parser.add_argument("--nannyml", action="store_true", help="estimate with NannyML as well")
    o = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    flights = pd.read_parquet(o.flights).iloc[:: o.every].reset_index(drop=True)
    flights["day"] = (flights.date - flights.date.min().normalize()).dt.days
    flights["hour"], flights["weekday"] = flights.date.dt.hour + flights.date.dt.minute / 60, flights.date.dt.day_of_week
    for name in ("origin", "destination"):
        flights[name] = flights[name].astype("category").cat.codes % 255
    x = flights[["hour", "weekday", "distance", "origin", "destination"]]
    flights["late"], training = flights.delay > 15, flights.day < o.train_days
    flights["chance"] = HistGradientBoostingClassifier(random_state=0).fit(x[training], flights.late[training]).predict_proba(x)[:, 1]
    flights["minutes"] = HistGradientBoostingRegressor(random_state=0).fit(x[training], flights.delay[training]).predict(x)
    flights["predicted"], flights["confidence"] = flights.chance > 0.5, np.maximum(flights.chance, 1 - flights.chance)
    flights["delay"] = flights.delay.astype(float)

    other = nannyml_estimators() if o.nannyml else None
    days = []
    for day in range(o.train_days + 14, flights.day.max() + 1):
        present, labelled = flights[flights.day == day], flights[(flights.day >= day - 14) & (flights.day < day - 7)]
        if not len(present) or not len(labelled):
            continue
        theirs = other(labelled, present) if other else {}
        earlier, later = labelled[labelled.day < day - 10.5], labelled[labelled.day >= day - 10.5]
        for truth, estimate in ((of_classes, estimate_classes), (of_errors, estimate_errors)):
            past, was = estimate(earlier, later), truth(later)
            true, before = truth(present), truth(labelled)
            for metric, (value, deviation, coverage) in estimate(labelled, present).items():
                days.append({
                    "metric": metric, "day": day, "month": present.date.iloc[0].strftime("%Y-%m"), "true": true[metric], "estimated": value, "labelled": before[metric],
                    "deviation": deviation, "past_error": abs(past[metric][0] - was[metric]), "coverage": min(coverage, past[metric][2]), "predictions": len(present),
                    "nannyml": theirs.get(metric, np.nan),
                })
        print(f"day {day}", end="\r", file=sys.stderr)
    days = pd.DataFrame(days)
    for metric, d in days.groupby("metric", sort=False):
        d = d.copy()
        limit = ERROR_LIMIT if metric == "mae" else LIMIT
        drop = (lambda v: v / d.labelled - 1) if metric == "mae" else (lambda v: 1 - v / d.labelled)
        past = d.past_error.rolling(7, min_periods=1).max()
        d["error"], d["guess_error"], d["nannyml_error"] = ((d[by] - d.true).abs() for by in ("estimated", "labelled", "nannyml"))
        d["reliable"] = (d.coverage >= MIN_COVERAGE) & (d.predictions >= MIN_COUNT) & (past <= limit * d.labelled)
        d["inside"] = d.error <= 1.96 * d.deviation + past
        d["dropped"] = drop(d.true) > limit
        d["alert"] = d.reliable & (drop(d.estimated) > limit) & ((d.estimated - d.labelled).abs() - past > Z * d.deviation)
        d["wrong"] = d.alert & ~d.dropped
        summary = {"days": ("day", "size"), **{n: (n, "mean") for n in ("true", "estimated", "error", "guess_error", "nannyml_error", "inside", "reliable")}, **{n: (n, "sum") for n in ("dropped", "alert", "wrong")}}
        table = pd.concat([d.groupby("month").agg(**summary), d.assign(month="all").groupby("month").agg(**summary)])
        print(f"\n{metric}\n{table.round(4).to_string()}")


if __name__ == "__main__":
    main()
