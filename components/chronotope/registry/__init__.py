"""Model registry: runs, model versions, promotion gate and the champion.

Exported here is the promotion journal, which needs SQLite alone; most other modules load MLflow.
Import ``open_store`` from ``registry.mlflow_store``, ``load_champion`` from ``registry.champion``
and ``evaluate_gate`` from ``registry.gate``.
"""

from chronotope.registry.promotion_journal import JournalReader, Promotion, PromotionJournal

__all__ = ["JournalReader", "Promotion", "PromotionJournal"]
