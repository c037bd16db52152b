# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # From the notebook to the nightly flow
#
# A log that proved itself becomes a dataset, and a model a version in the registry. Nothing is
# rewritten: the commands, the service and feedback take over from there. The page was made by
# running [its script](../../docs/notebooks/notebook_to_flow.py).

# %%
import os
from pathlib import Path
from tempfile import mkdtemp

import chronotope as ct

project = Path(mkdtemp())  # yours is the folder that you call `chronotope` in
os.environ["MLFLOW_BACKEND_STORE_URI"] = f"sqlite:///{project}/mlruns/mlflow.db"
log, catalog = ct.datasets.load("simulated_city", n_events=6_000)
visits = log.to_pandas()[["user_id", "item_id", "occurred_at"]]
log = ct.Log.from_frame(
    visits,
    user="user_id",
    item="item_id",
    place="item_id",
    time="occurred_at",
    time_zone="Europe/Vienna",
    catalog=catalog,
)

# %% [markdown]
# ## The dataset
#
# `to_dataset` writes Parquet files, the YAML that a hand would write, and the lake. Event ids stay
# the same, so ingesting the files again adds nothing; refused rows come along into the quarantine.

# %%
cafe = log.to_dataset("cafe", project, description="What guests of two cafes had")
print((project / "conf/datasets/cafe.yaml").read_text())

# %% [markdown]
# ## The version
#
# `register` exports the ONNX graph and makes it the challenger in MLflow. A model of a notebook has
# not passed the gate: it becomes champion by `promote=True` or `chronotope promote`, or not at all
# and a training finds a better one.

# %%
model = ct.Recommender().fit(cafe)
version = model.register(promote=True)
version

# %% [markdown]
# The registered version gives the same probabilities as the network in this process, and the same
# as the command line and the service:

# %%
served = ct.Recommender.from_registry(cafe, version)
served.recommend(cafe.users()[0], k=3)[["item", "title", "probability", "reason"]]

# %% [markdown]
# ## From here
#
# ```sh
# chronotope train cafe        # search, train, compress, evaluate, gate, promote
# chronotope serve cafe        # predictions over HTTP
# chronotope feedback cafe     # take in new interactions; retrain if it pays
# chronotope up --dataset cafe # all of it on a schedule
# ```
