# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Five minutes with your own frame
#
# A data frame in; recommendations, times and a judged model out. Everything here uses the code of
# the flows and of the service, so nothing has to be rewritten later. The page was made by running
# [its script](../../docs/notebooks/five_minutes.py).

# %%
import pandas as pd

import chronotope as ct

# %% [markdown]
# ## The frame
#
# Yours comes from a file or a database: one row for each interaction. This one is simulated, with
# its own column names, and a few rows are broken on purpose.

# %%
city, catalog = ct.datasets.load("simulated_city", n_events=12_000)
visits = city.to_pandas()[["user_id", "item_id", "occurred_at"]]
visits.columns = ["guest", "venue", "seen"]
visits.loc[visits.sample(3, random_state=0).index, "guest"] = None
visits = pd.concat([visits, visits.tail(1)])
visits.head()

# %% [markdown]
# ## Checks
#
# `Log.from_frame` reads the columns that you name. Rows without a user, an item or a time are not
# guessed: they go to quarantine with their reasons. pandas, polars, Arrow and DuckDB work alike.
# Here items are places, so `place` is the same column.

# %%
log = ct.Log.from_frame(
    visits,
    user="guest",
    item="venue",
    place="venue",
    time="seen",
    time_zone="Europe/Vienna",
    catalog=catalog,
)
log

# %%
log.report

# %%
log.quarantine()

# %% [markdown]
# ## What next?
#
# The training starts at the pretrained network of the package and adapts it to the log.

# %%
model = ct.Recommender().fit(log)
model

# %%
guest = log.users()[0]
model.recommend(guest, k=10)[["rank", "title", "category", "probability", "reason"]]

# %% [markdown]
# Only venues that are new to the guest, of one category, as of another evening:

# %%
model.recommend(guest, at="2024-03-15T18:00", k=3, new_only=True, filters={"category": "café"})[
    ["rank", "title", "probability", "reason"]
]

# %% [markdown]
# ## When?
#
# Median and central 80 % interval of the hours to the next event, given the wait so far.

# %%
model.predict_time(log.users()[:5])

# %% [markdown]
# ## Is it any good?
#
# Each model is trained on what was before the cut and ranks the true venue of each later event over
# the whole catalogue. A model that does not beat counting is not worth its cost, so the baselines
# stand in the same table.

# %%
models = [ct.Recommender(), ct.Popularity(), ct.UserCounts(), ct.FirstOrderMarkov(), ct.Ease()]
evaluation = ct.evaluate(models, log, ct.split.latest(log))
evaluation

# %%
ct.plot.accuracy(evaluation)

# %% [markdown]
# Is the difference from counting more than noise? A paired test, users resampled:

# %%
evaluation.compare("chronotope", "user_counts", "ndcg_10")

# %% [markdown]
# ## Keep it
#
# `save` writes a folder with an ONNX graph, the ids and a manifest with digests; `load` verifies
# them, and nothing is unpickled:
#
# ```python
# model.save("models/venues")
# ct.Recommender.load("models/venues", log=log).recommend(guest)
# ```
#
# From here: the [Python API](../python-api.md), or [your log](../bring-your-own-log.md) as a
# dataset of the nightly flows.
