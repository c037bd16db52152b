"""What can be damaged below a root, how it is detected, and how it is mended."""

from chronotope.cli.repairs.damage import Aside, Damage
from chronotope.cli.repairs.repair_root import Repaired, damages, repair

__all__ = ["Aside", "Damage", "Repaired", "damages", "repair"]
