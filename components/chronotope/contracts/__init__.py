"""Contracts of all packages: columns, schemas, ids, event log, queries, protocols, errors."""
