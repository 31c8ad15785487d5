"""Trains a classifier on scikit-learn's wine data as a team would, with MLflow: its dataset logged, its version registered."""

import json
import os
import sys

import joblib
import mlflow
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

server, folder = sys.argv[1:]
mlflow.set_tracking_uri(server)
wine = load_wine(as_frame=True)
data = wine.data.rename(columns={"od280/od315_of_diluted_wines": "od280"})
path = os.path.join(folder, "wine.csv")
data.assign(cultivar=wine.target).to_csv(path, index=False)

mlflow.set_experiment("cellar")
with mlflow.start_run() as run:
    dataset = mlflow.data.from_pandas(data.assign(cultivar=wine.target), source=path, name="wine", targets="cultivar")
    mlflow.log_input(dataset, context="training")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(data, wine.target)
    mlflow.sklearn.log_model(model, name="model", registered_model_name="wine", pip_requirements=["scikit-learn"])
mlflow.MlflowClient().set_registered_model_alias("wine", "champion", "1")
joblib.dump(model, os.path.join(folder, "wine.joblib"))
with open(os.path.join(folder, "run.json"), "w") as f:
    json.dump({"run": run.info.run_id, "experiment": run.info.experiment_id, "digest": dataset.digest}, f)
