"""Commands around anomalies."""
