"""Recommender for notebooks: trains on a log, predicts what, when and where, saves a bundle."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from chronotope.api import html
from chronotope.api.bundle_files import export_bundle, with_dataset
from chronotope.api.catalog import ItemCatalog
from chronotope.api.logs.log import Log
from chronotope.api.moments import to_moment
from chronotope.api.parameters import (
    DEFAULTS,
    Parameters,
    checked_parameters,
    network_config,
    request_options,
    schedule_config,
    utc_text,
)
from chronotope.api.predictions import PredictionSource, user_texts
from chronotope.artifact.bundle import read_vocabulary
from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.data_version import EVENTS, DataVersion
from chronotope.contracts.errors import ConfigError
from chronotope.models.config import ModelConfig
from chronotope.registry.champion import Champion
from chronotope.spacetime.time_zones import zone
from chronotope.training.config import TrainingConfig

if TYPE_CHECKING:
    import pandas as pd

    from chronotope.training.recommender import ChronotopeRecommender


_NOT_FITTED: Final = "The recommender is not fitted"


class NextEventRecommender:
    """Model of a user's next event: item, time and place; ``ct.Recommender``.

    Parameters are those of ``ModelConfig`` and ``TrainingConfig`` by name. By default the training
    starts at the pretrained checkpoint of the package, which takes seconds.
    """

    def __init__(self, *, progress: bool = False, **params: Any) -> None:
        """Set parameters; ``fit`` trains.

        Args:
            progress: Show a progress bar of the training.
            params: Parameters by name, such as ``history_len`` or ``max_epochs``;
                ``init="scratch"`` starts without the pretrained checkpoint.

        Raises:
            ConfigError: There is no such parameter, or its value is invalid.
        """
        self.progress = progress
        self._params: dict[str, Any] = {}
        self.set_params(**{**DEFAULTS, **params})
        self._network: ChronotopeRecommender | None = None
        self._champion: Champion | None = None
        self._log: Log | None = None
        self._opened: PredictionSource | None = None

    # --- parameters ----------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> Parameters:  # noqa: ARG002 - scikit-learn's
        """All parameters by name, as scikit-learn's estimators have them."""
        return {**self.model_config.model_dump(), **self.training_config.model_dump()}

    def set_params(self, **params: Any) -> Self:
        """Change parameters; they count from the next ``fit`` on.

        Raises:
            ConfigError: There is no such parameter, or its value is invalid.
        """
        self._params = checked_parameters({**self._params, **params})
        return self

    @property
    def name(self) -> str:
        """Name of the model in tables."""
        return self.model_config.family

    @property
    def model_config(self) -> ModelConfig:
        """Parameters of the network."""
        return network_config(self._params)

    @property
    def training_config(self) -> TrainingConfig:
        """Parameters of the training."""
        return schedule_config(self._params)

    # --- training ------------------------------------------------------------------------

    def unfitted_network(self) -> "ChronotopeRecommender":
        """A network of these parameters that ``evaluate`` trains on each fold."""
        from chronotope.training.recommender import ChronotopeRecommender

        return ChronotopeRecommender(
            self.model_config, self.training_config, progress=self.progress
        )

    def fit(self, log: Log, catalog: ItemCatalog | None = None) -> Self:
        """Train on a log.

        Args:
            log: The events.
            catalog: Attributes of the items; None keeps those of the log.
        """
        from chronotope.api.training_noise import quiet_training

        log = log if catalog is None else log.with_catalog(catalog)
        with quiet_training():
            network = self.unfitted_network().fit(log.events, log.index)
        self._use(network, log)
        return self

    def partial_fit(self, log: Log) -> Self:
        """Update the model with a longer log: one pass over its new events, then new counts.

        Args:
            log: All events, earlier ones included; new users and items are taken in.

        Raises:
            ConfigError: The model is not fitted, or was loaded from a bundle.
        """
        from chronotope.api.training_noise import quiet_training

        if self._network is None:
            raise self._untrainable()
        network = copy.deepcopy(self._network)
        with quiet_training():
            network.transfer_to(log.events, log.index)
            network.update(log.events)
        self._use(network, log)
        return self

    def _untrainable(self) -> ConfigError:
        """Error of a model without a network that could be trained on."""
        if self._champion is None:
            return ConfigError(_NOT_FITTED, way_out="Call fit with the whole log")
        return ConfigError(
            "A bundle cannot be trained on: it holds the graph of the predictions, not the network",
            received=f"version {self._champion.version}",
            way_out="Call ct.Recommender(...).fit with the whole log; a registered version is "
            "retrained on new events by chronotope feedback DATASET",
        )

    def _use(self, network: "ChronotopeRecommender", log: Log) -> None:
        from chronotope.api.trained_model import as_champion, describe_network

        data_version = DataVersion(((EVENTS, log.store.lake.table_version(EVENTS)),))
        bundle_manifest = describe_network(network, log.spec.name, str(data_version), log.end)
        self._network, self._champion = network, as_champion(network, log.index, bundle_manifest)
        self._attach(log)

    def _attach(self, log: Log | None) -> None:
        if self._opened is not None:
            self._opened.close()
        self._log, self._opened = log, None

    # --- predictions ---------------------------------------------------------------------

    def recommend(
        self,
        users: object,
        at: object = None,
        *,
        k: int = 10,
        new_only: bool = False,
        filters: Mapping[str, object] | None = None,
    ) -> "pd.DataFrame":
        """Likeliest next items of users, from their events before a moment.

        Args:
            users: One id, or a list or column of ids; without events, of cold-start users.
            at: Moment of the request; by default the second after the last event of the log.
            k: Number of items.
            new_only: Only items that the user has not had yet.
            filters: ``category``, or ``lat``, ``lon`` and ``within_km``.

        Returns:
            A row for each user and rank: item, title, category, probability, whether it is new to
            the user, reason, coordinates.

        Raises:
            ConfigError: The model is not fitted, or a filter is unknown.
        """
        options = request_options(k, new_only, filters or {})
        return self._source.items_frame(user_texts(users), self._moment(at), options)

    def predict_time(self, users: object, at: object = None) -> "pd.DataFrame":
        """Hours to the next event: median and central 80 % interval, given the wait so far.

        Args:
            users: One id, or a list or column of ids.
            at: Moment of the request; by default the second after the last event of the log.
        """
        prediction_source = self._source
        local_zone = zone(self._time_zone)
        return prediction_source.times_frame(user_texts(users), self._moment(at), local_zone)

    def predict_place(self, users: object, at: object = None, *, k: int = 3) -> "pd.DataFrame":
        """Likeliest next places; the items themselves where items are places.

        Args:
            users: One id, or a list or column of ids.
            at: Moment of the request; by default the second after the last event of the log.
            k: Number of places, at most three where places are not items.
        """
        return self._source.places_frame(user_texts(users), self._moment(at), k)

    def explain(
        self, user: object, items: object = None, at: object = None, *, k: int = 10
    ) -> "pd.DataFrame":
        """Reasons of items for one user: own history, likeness, succession, or popularity.

        Args:
            user: Id of the user.
            items: Items to explain; by default the k recommended ones.
            at: Moment of the request; by default the second after the last event of the log.
            k: Number of items if none are named.

        Raises:
            ConfigError: An item is unknown to the model.
        """
        column_names = ["rank", "item", "title", "probability", "is_new", "reason"]
        if items is None:
            return self.recommend(user, at, k=k)[column_names]
        n_items = self._fitted.vocabulary.items.size - 1
        ranked_items = self.recommend(user, at, k=n_items)[column_names]
        wanted_ids = user_texts(items)
        item_texts = ranked_items["item"].astype(str)
        unknown_items = [item for item in wanted_ids if item not in set(item_texts)]
        if unknown_items:
            raise ConfigError(
                "Items are unknown to the model",
                received=", ".join(unknown_items),
                way_out="Name items of the log that it was fitted on",
            )
        return ranked_items[item_texts.isin(wanted_ids)].reset_index(drop=True)

    @property
    def _fitted(self) -> Champion:
        if self._champion is None:
            raise ConfigError(_NOT_FITTED, way_out="Call fit with a log, or load a bundle")
        return self._champion

    @property
    def _source(self) -> PredictionSource:
        """The model over the events of its log, opened at the first prediction."""
        champion = self._fitted
        if self._log is None:
            raise ConfigError(
                "A loaded model needs the events of the users",
                way_out="Load it with Recommender.load(path, log=log)",
            )
        if self._opened is None:
            log_store = self._log.store
            self._opened = PredictionSource.open(
                champion, log_store.root, log_store.dataset, self._log.id_types
            )
        return self._opened

    @property
    def _time_zone(self) -> str:
        return "UTC" if self._log is None else self._log.time_zone

    def _moment(self, value: object) -> Any:
        if value is None and self._log is not None:
            return self._log.next_second
        return to_moment(value, self._time_zone)

    # --- files ---------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Export to a bundle: an ONNX graph, ids and a manifest with digests; no pickle.

        Args:
            path: Folder; it must not exist yet, or be empty.

        Returns:
            The folder.

        Raises:
            ConfigError: The model is not fitted, or the folder holds files.
        """
        return export_bundle(Path(path), self._fitted, self._network, self._log)

    @classmethod
    def load(cls, path: str | Path, log: Log | None = None) -> Self:
        """Open a bundle; nothing is unpickled, and its digests are verified.

        Args:
            path: Folder of the bundle, of ``save`` or of a registered version.
            log: Events of the users to predict for.

        Raises:
            ArtifactError: The bundle is incomplete or damaged.
        """
        bundle_dir = Path(path)
        recommender = cls()
        bundle_model = open_bundle(bundle_dir)
        if log is not None:
            bundle_model = with_dataset(bundle_model, log.spec.name)
        recommender._champion = Champion(
            "bundle", bundle_model, read_vocabulary(bundle_dir), bundle_dir
        )
        recommender._attach(log)
        return recommender

    def register(self, *, promote: bool = False) -> str:
        """Register the model as a version of its dataset in MLflow; it becomes challenger.

        Args:
            promote: Make it champion without the gate, as ``chronotope promote`` does.

        Returns:
            Number of the version.

        Raises:
            ConfigError: The model was not fitted on a log of ``to_dataset``.
        """
        from chronotope.api.project import register_network

        bundle_manifest = self._fitted.model.manifest
        if self._network is None or self._log is None:
            raise ConfigError(
                "A loaded bundle is not registered again", way_out="Register what fit has trained"
            )
        return register_network(self._network, bundle_manifest, self._log, promote=promote)

    @classmethod
    def from_registry(cls, log: Log, version: str | None = None) -> Self:
        """Open a registered version of the dataset of a log; the champion by default.

        Args:
            log: Result of ``to_dataset``.
            version: Number of the version.

        Raises:
            StoreError: There is no champion, or no such version.
        """
        from chronotope.registry.champion import load_champion, load_version

        root, dataset_name = log.store.root, log.store.dataset
        recommender = cls()
        recommender._champion = (
            load_champion(root, dataset_name)
            if version is None
            else load_version(root, dataset_name, version)
        )
        recommender._attach(log)
        return recommender

    def __repr__(self) -> str:
        """Parameters that differ from the defaults, and whether it is fitted."""
        changed_params = {
            parameter_name: value
            for parameter_name, value in self._params.items()
            if DEFAULTS.get(parameter_name) != value
        }
        arguments = ", ".join(
            f"{parameter_name}={value!r}" for parameter_name, value in changed_params.items()
        )
        return f"Recommender({arguments})"

    def _repr_html_(self) -> str:
        if self._champion is None:
            return html.card(repr(self), html.paragraph("not fitted", soft=True))
        bundle_manifest, bundle_vocabulary = (
            self._champion.model.manifest,
            self._champion.vocabulary,
        )
        card_rows = [
            ("family", bundle_manifest.name),
            ("items", f"{bundle_vocabulary.items.size - 1:,}"),
            ("users in training", f"{bundle_manifest.n_users:,}"),
            ("events of a history read", f"{bundle_manifest.history_len:,}"),
            ("trained until", utc_text(bundle_manifest.trained_until_s)),
            ("start", str(self.training_config.init)),
        ]
        return html.card(
            "Model card", html.paragraph(repr(self), soft=True), html.table(["", ""], card_rows)
        )
