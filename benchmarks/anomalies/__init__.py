"""Detection of anomalies on labelled logs, beside the detectors of the field."""
