"""Feature snapshots: the numeric event log and catalogue, built from the tables of the lake."""
