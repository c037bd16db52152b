"""Generators of the events of new users: a Markov-renewal process, and its adversarial rival."""

from chronotope.training.generators.event_generator import GENERATORS, EventGenerator, GeneratorKind
from chronotope.training.generators.fit_generator import fit_generator
from chronotope.training.generators.markov_renewal import MarkovRenewal

__all__ = ["GENERATORS", "EventGenerator", "GeneratorKind", "MarkovRenewal", "fit_generator"]
