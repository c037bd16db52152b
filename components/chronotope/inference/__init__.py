"""From a history to ranked items with reasons: shared by command line, service and batch jobs."""
