"""Labelled anomalies of a simulated city, and the best that any detector can do against them."""

from chronotope.datasets.city_anomalies.rates import AnomalyKind, AnomalyRates

__all__ = ["AnomalyKind", "AnomalyRates"]
