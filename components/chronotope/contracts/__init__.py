"""The ground floor: columns, schemas, ids, errors and protocols every room shares."""
