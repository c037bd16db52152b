"""Detection and repair of damaged data below a project root."""

from chronotope.cli.repairs.damage import BackupFolder, Damage
from chronotope.cli.repairs.repair_root import RepairResult, damages, repair

__all__ = ["BackupFolder", "Damage", "RepairResult", "damages", "repair"]
