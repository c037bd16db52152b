"""Python API for notebooks: a data frame in, answers out.

A thin layer over ingestion, training, inference, evaluation and registry; ``import chronotope as
ct`` offers its names, each imported when it is first used.
"""
