# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # New items by their texts
#
# A menu changes every week, and nobody has ordered the new dishes yet. A model of habits alone
# cannot rank them; what a dish *is* stands in its text. The page was made by running [its
# script](../../docs/notebooks/new_items_by_text.py).

# %%
import numpy as np
import pandas as pd

import chronotope as ct

# %% [markdown]
# ## A menu and a log
#
# Simulated, so that the right answer is known: each of 300 guests likes one of six cuisines and
# orders from it five times out of six. The last three dishes of each cuisine are new: nobody has
# ordered them.

# %%
cuisines = {
    "Thai": "coconut curry lemongrass chili rice noodles basil",
    "Italian": "pasta tomato parmesan olive oil mozzarella basil",
    "Mexican": "tortilla beans avocado lime chili coriander",
    "Indian": "lentils masala cumin yoghurt naan chickpeas",
    "Japanese": "sushi salmon soy ginger miso seaweed",
    "French": "butter cream shallots wine mushrooms thyme",
}
rng = np.random.default_rng(0)
menu = pd.DataFrame(
    [
        (f"{cuisine.lower()}-{number}", f"{cuisine} dish {number}", " ".join(rng.choice(words, 4)))
        for cuisine, text in cuisines.items()
        for words in [text.split()]
        for number in range(1, 13)
    ],
    columns=["dish", "name", "ingredients"],
)
menu["is_new"] = menu["name"].str.split().str[-1].astype(int) > 9
menu.sample(4, random_state=1)

# %%
taste = rng.integers(0, 6, 300)
guests = rng.integers(0, 300, 9_000)
cuisine = np.where(rng.random(9_000) < 0.8, taste[guests], rng.integers(0, 6, 9_000))
orders = pd.DataFrame(
    {
        "guest": guests,
        "dish": [
            f"{list(cuisines)[c].lower()}-{n}"
            for c, n in zip(cuisine, rng.integers(1, 10, 9_000), strict=True)
        ],
        "ordered_at": pd.Timestamp("2024-01-01")
        + pd.to_timedelta(np.sort(rng.integers(0, 90 * 86_400, 9_000)), "s"),
    }
)
orders.head(3)

# %% [markdown]
# ## Texts become vectors
#
# `content` names what is encoded. The encoder `tfidf` is fitted on the catalogue; `minilm` and
# `e5` are pretrained. Each dish of the menu that has a text is then an item of the model, ordered
# or not.

# %%
catalog = ct.Catalog.from_frame(
    menu, item="dish", title="name", text="ingredients", content=["text"]
)
log = ct.Log.from_frame(orders, user="guest", item="dish", time="ordered_at", catalog=catalog)
log

# %%
model = ct.Recommender().fit(log)
guest = 7
list(cuisines)[taste[guest]]

# %% [markdown]
# Dishes that are new to the guest, and among them those that are new to all:

# %%
ranked = model.recommend(guest, k=len(menu), new_only=True)
new_dishes = set(menu.loc[menu["is_new"], "dish"])
ranked[ranked["item"].isin(new_dishes)][["rank", "title", "probability"]].head(5)

# %% [markdown]
# ## Is the taste met?
#
# For each guest, which cuisine has the best of the 18 new dishes? Without knowing any text, one
# guess in six is right. Real texts say less about taste than these.

# %%
asked = list(range(0, 300, 3))
ranked = model.recommend(asked, k=len(menu))
best = ranked[ranked["item"].isin(new_dishes)].groupby("user").first()
found = best["title"].str.split().str[0]
met = found == [list(cuisines)[taste[user]] for user in best.index]
print(f"{met.mean():.0%} of {len(met)} guests get a new dish of their own cuisine first")

# %% [markdown]
# What real texts are worth, on later time and with intervals: [what items are](../content.md).
