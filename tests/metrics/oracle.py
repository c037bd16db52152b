"""Slow, obvious versions of the metrics: loops over single targets, nothing shared."""

import itertools
import math


def rank_by_permutation(scores, target):
    """Mean place of the target over every order that the scores allow."""
    items = range(1, len(scores))
    places = []
    for order in itertools.permutations(items):
        values = [scores[i] for i in order]
        if all(x >= y for x, y in itertools.pairwise(values)):
            places.append(order.index(target) + 1)
    return sum(places) / len(places)


def ndcg(ranks, k):
    """Discounted gain of one relevant item a query."""
    return sum(math.log(2) / math.log(r + 1) for r in ranks if r <= k) / len(ranks)


def history(events, position):
    """Items of (user, item, time) rows that the user had at an earlier instant."""
    user, _, when = events[position]
    return [item for u, item, t in events if u == user and t < when]
