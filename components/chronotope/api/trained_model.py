"""A trained network as the model of a champion, before it is exported to a bundle."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chronotope.artifact.bundle import Manifest, Vocabulary, write_bundle
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.compression.export import export_onnx, history_lengths, padded_lengths
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.queries import Queries
from chronotope.models.content_head import model_catalog
from chronotope.registry.champion import Champion
from chronotope.training.recommender import ChronotopeRecommender

UNREGISTERED: Final = "unregistered"
"""Version of a model that no registry holds."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """Network that answers in this process, with the manifest that its bundle would have.

    Attributes:
        network: The trained network and its priors.
        manifest: Sizes and data of the training.
    """

    network: ChronotopeRecommender
    manifest: Manifest

    @property
    def history_lengths(self) -> tuple[int, ...]:
        """Lengths to which histories are padded, as those of the exported graph."""
        model_config = self.network.model
        return padded_lengths(history_lengths(model_config), model_config.history_len)

    def answer(self, queries: Queries) -> ModelOutput:
        """Predictions for a batch of queries."""
        return self.network.answer(queries)


def as_champion(network: ChronotopeRecommender, catalog: Catalog, manifest: Manifest) -> Champion:
    """The network in the place of a registered version.

    Args:
        network: The trained network.
        catalog: Catalogue that it was trained on.
        manifest: Sizes and data of the training.
    """
    item_titles = catalog.item_title.tolist() or [""] * catalog.n_items
    bundle_vocabulary = Vocabulary(
        catalog.users, catalog.items, catalog.places, item_titles, catalog.categories
    )
    return Champion(UNREGISTERED, TrainedModel(network, manifest), bundle_vocabulary)


def describe_network(
    network: ChronotopeRecommender, dataset: str, data_version: str, trained_until: datetime
) -> Manifest:
    """Manifest of a trained network, without files yet.

    Args:
        network: The network.
        dataset: Dataset of its log.
        data_version: Versions of the lake's tables.
        trained_until: Time of the last training event.
    """
    return Manifest(
        name=network.name,
        dataset=dataset,
        data_version=data_version,
        history_len=network.model.history_len,
        context=network.model.context,
        attributes=network.attributes,
        trained_until_s=int(trained_until.astimezone(UTC).timestamp()),
        digests={},
    )


def write_network(
    bundle_dir: Path, network: ChronotopeRecommender, catalog: Catalog, manifest: Manifest
) -> Manifest:
    """Export a network to a bundle.

    Args:
        bundle_dir: Empty folder.
        network: The trained network.
        catalog: Catalogue that it was trained on.
        manifest: Its description.

    Returns:
        The manifest with the digests of the files.
    """
    export_onnx(network.net, network.priors, bundle_dir / "model.onnx")
    manifest_fields = manifest.model_dump(exclude={"digests"})
    return write_bundle(bundle_dir, model_catalog(catalog, network.model), **manifest_fields)
