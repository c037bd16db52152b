"""Audit trail: who changed the champion, the labels or the stored users, when and why."""

from chronotope.audit.audit_secrets import AuditSecrets
from chronotope.audit.audit_trail import AuditTrail, TrailCheck
from chronotope.audit.trail_entry import AuditEntry
from chronotope.audit.trail_migration import migrate_trail, plan_trail_migration

__all__ = [
    "AuditEntry",
    "AuditSecrets",
    "AuditTrail",
    "TrailCheck",
    "migrate_trail",
    "plan_trail_migration",
]
