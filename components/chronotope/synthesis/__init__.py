"""Synthetic logs that can be shared: generated users, fidelity, privacy, report."""

from chronotope.synthesis.config import SynthesisSettings
from chronotope.synthesis.figures import SynthesisFigures
from chronotope.synthesis.synthesise import SyntheticLog, synthesise

__all__ = ["SynthesisFigures", "SynthesisSettings", "SyntheticLog", "synthesise"]
