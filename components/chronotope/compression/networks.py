"""Networks of a compression study: pruned or distilled once, stored, and read by every variant."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from chronotope.compression.config import CompressionConfig
from chronotope.compression.distill import distil, make_student
from chronotope.compression.prune import FineTune, prune_units, prune_weights
from chronotope.compression.recipe import Recipe, fixed_recipes, indexed_recipes
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Catalog
from chronotope.models.batch import Batch
from chronotope.models.config import ModelConfig
from chronotope.models.factorized import is_separable
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.models.transfer.network_file import load_tensors, save_tensors

DistillationQueries = Iterable[tuple[Batch, Priors]]


@dataclass(frozen=True, slots=True)
class TeacherData:
    """Training data of smaller networks.

    Attributes:
        fine_tune: Trains a pruned network further.
        examples: Makes queries with the priors of their time, for distillation.
    """

    fine_tune: FineTune
    examples: Callable[[], DistillationQueries]


def candidate_recipes(
    net: ChronotopeNet, config: CompressionConfig, n_items: int
) -> tuple[Recipe, ...]:
    """Recipes to try: indexes for a large catalogue, unless items have coordinates.

    Args:
        net: The trained network.
        config: Number of items from which a catalogue is large.
        n_items: Items of the catalogue.
    """
    if n_items > config.index_above_items and is_separable(net):
        return indexed_recipes(config)
    return fixed_recipes(config, net.config.history_len)


def make_network(
    recipe: Recipe, teacher: ChronotopeNet, catalog: Catalog, teacher_data: TeacherData | None
) -> ChronotopeNet:
    """The pruned or distilled network of a recipe; the teacher is not changed.

    Args:
        recipe: The network's kind and sizes.
        teacher: The trained network.
        catalog: The catalogue it was built for.
        teacher_data: Training data of the smaller network; None leaves it untrained.
    """
    network, fine_tune = teacher, None if teacher_data is None else teacher_data.fine_tune
    if recipe.network == "narrow":
        network = prune_units(teacher, recipe.removed_units, fine_tune)
    elif recipe.network == "student":
        student = make_student(
            teacher, catalog, history_len=recipe.history_len, n_hidden=recipe.n_hidden
        )
        network = student.eval()
        if teacher_data is not None:
            network = distil(teacher, student, teacher_data.examples())
    if recipe.zero_weights:
        network = prune_weights(network, recipe.zero_weights, fine_tune)
    return network


def write_network(net: ChronotopeNet, network_path: Path) -> None:
    """Store a network atomically."""
    network_content = {"config": net.config.model_dump_json(), "net": dict(net.state_dict())}
    save_tensors(network_path, network_content)


def read_network(network_path: Path, catalog: Catalog) -> ChronotopeNet:
    """The network that ``write_network`` stored; only tensors and strings are unpickled.

    Args:
        network_path: The file.
        catalog: The catalogue the network was built for.

    Raises:
        ArtifactError: The file is damaged.
    """
    try:
        network_content = load_tensors(network_path)
    except Exception as error:  # a damaged file raises errors of many classes
        raise ArtifactError(
            "A network of the candidates cannot be read",
            received=f"{network_path}: {error}",
            way_out="Delete the file and run again: it is made again",
        ) from error
    config = ModelConfig.model_validate_json(network_content["config"])
    net = ChronotopeNet(config, catalog)
    gate_width, n_context = network_content["net"]["gate.0.weight"].shape
    first_layer, activation, last_layer = net.gate
    # the config does not record the width of a pruned gate
    if gate_width != first_layer.out_features and isinstance(last_layer, nn.Linear):
        net.gate = nn.Sequential(
            nn.Linear(n_context, gate_width),
            activation,
            nn.Linear(gate_width, last_layer.out_features),
        )
    net.load_state_dict(network_content["net"])
    return net.eval()
