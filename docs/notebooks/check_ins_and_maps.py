# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Check-ins, maps and times
#
# A simulated city: check-ins by a known law, so this page needs no file. Where is somebody next,
# and when? The page was made by running [its script](../../docs/notebooks/check_ins_and_maps.py).

# %%
import chronotope as ct

log, catalog = ct.datasets.load("simulated_city", n_events=15_000)
log

# %%
ct.plot.map(log)

# %% [markdown]
# Venues that the same people visit lie close together here, whatever their coordinates:

# %%
ct.plot.item_space(log, n_items=150)

# %% [markdown]
# ## Next places

# %%
model = ct.Recommender().fit(log)
guest = log.users()[0]
model.predict_place(guest, k=5)

# %% [markdown]
# The same as a map; larger points are likelier.

# %%
ct.plot.map(model.recommend(guest, k=15))

# %% [markdown]
# Only what is within a kilometre of the city's centre:

# %%
centre = {"lat": 48.2082, "lon": 16.3738, "within_km": 1.0}
model.recommend(guest, k=3, filters=centre)[["rank", "title", "probability", "reason"]]

# %% [markdown]
# ## When do they come again?
#
# The model predicts a distribution. It is calibrated if a tenth of the true times falls into each
# tenth of it; here each event of the last tenth of the log is predicted from what was before it.

# %%
evaluation = ct.evaluate([ct.Recommender(), ct.UserCounts()], log, ct.split.latest(log))
ct.plot.calibration(evaluation)

# %% [markdown]
# Guests in the order in which they are expected back:

# %%
model.predict_time(log.users()).sort_values("expected_at").head(5)

# %% [markdown]
# ## Returns and discoveries
#
# Most of the accuracy comes from habits. Venues that are new to the guest are much harder; the
# table shows both apart.

# %%
evaluation
