"""Steps of the flow ``train-anomaly``: search, fit, evaluate, register, promote, report."""

__all__: list[str] = []
