"""Test suite of recommenders, for the project's models and for a user's own.

``recommender_suite.RecommenderSuite`` checks a model against the ``Recommender`` protocol:
scores of the full catalogue, determinism, padding, cold-start users, unknown items, no leakage
of later events. Inherit it in a pytest module and override ``model``:

    from chronotope.testing.recommender_suite import RecommenderSuite

    class TestMyModel(RecommenderSuite):
        def model(self) -> Recommender:
            return MyModel()

The suite needs pytest; this package imports it only with ``recommender_suite``.
"""
