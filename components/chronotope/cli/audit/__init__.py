"""Commands around the audit trail."""
