"""The networks of a study: made once, kept in a folder, read again by every variant."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from chronotope.compression.distill import distil, make_student
from chronotope.compression.prune import FineTune, prune_units, prune_weights
from chronotope.compression.recipe import Recipe
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Catalog
from chronotope.models.batch import Batch
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.network_file import load_tensors, save_tensors
from chronotope.models.priors import Priors

DistillationQueries = Iterable[tuple[Batch, Priors]]


@dataclass(frozen=True, slots=True)
class TeacherData:
    """What smaller networks learn from.

    Attributes:
        fine_tune: Trains a pruned network further.
        examples: Makes queries with the priors of their time, to distil on.
    """

    fine_tune: FineTune
    examples: Callable[[], DistillationQueries]


def make_network(
    recipe: Recipe, teacher: ChronotopeNet, catalog: Catalog, teaching: TeacherData
) -> ChronotopeNet:
    """Prune or distil what a recipe asks for; the teacher is not changed.

    Args:
        recipe: Which network.
        teacher: The trained network.
        catalog: The catalogue it was built for.
        teaching: What a smaller one learns from.
    """
    made = teacher
    if recipe.network == "narrow":
        made = prune_units(teacher, recipe.removed_units, teaching.fine_tune)
    elif recipe.network == "student":
        shape = {"history_len": recipe.history_len, "n_hidden": recipe.n_hidden}
        student = make_student(teacher, catalog, **shape)
        made = distil(teacher, student, teaching.examples())
    if recipe.zero_weights:
        made = prune_weights(made, recipe.zero_weights, teaching.fine_tune)
    return made


def write_network(net: ChronotopeNet, path: Path) -> None:
    """Keep a network, whole or not at all."""
    save_tensors(path, {"config": net.config.model_dump_json(), "net": dict(net.state_dict())})


def read_network(path: Path, catalog: Catalog) -> ChronotopeNet:
    """Read what ``write_network`` kept; nothing is unpickled but tensors and strings.

    Args:
        path: The file.
        catalog: The catalogue the network was built for.

    Raises:
        ArtifactError: The file is damaged.
    """
    try:
        kept = load_tensors(path)
    except Exception as error:  # what a damaged file does to its reader cannot be foretold
        raise ArtifactError(
            "A network of the candidates cannot be read",
            received=f"{path}: {error}",
            way_out="Delete the file and run again: it is made again",
        ) from error
    net = ChronotopeNet(ModelConfig.model_validate_json(kept["config"]), catalog)
    width, n_context = kept["net"]["gate.0.weight"].shape
    first, activation, last = net.gate
    if width != first.out_features and isinstance(last, nn.Linear):  # pruned: no config says so
        narrow = nn.Linear(n_context, width), activation, nn.Linear(width, last.out_features)
        net.gate = nn.Sequential(*narrow)
    net.load_state_dict(kept["net"])
    return net.eval()
