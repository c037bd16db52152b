"""Audit trail: who changed the champion, the labels or the stored users, when and why."""

from chronotope.audit.audit_secrets import AuditSecrets
from chronotope.audit.audit_trail import AuditEntry, AuditTrail, TrailCheck

__all__ = ["AuditEntry", "AuditSecrets", "AuditTrail", "TrailCheck"]
