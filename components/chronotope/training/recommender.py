"""Trained recommender: trains the network, updates it, saves and loads it."""

import copy
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.content.column_worth import ColumnWorth
from chronotope.contracts.errors import ArtifactError, ChronotopeError, ConfigError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.item_content import ItemContent
from chronotope.contracts.item_context import ItemContextColumn
from chronotope.contracts.protocols import Tracker
from chronotope.contracts.queries import Queries
from chronotope.contracts.user_attributes import AttributeColumn, context_columns
from chronotope.models.batch import Batch, to_batch
from chronotope.models.cold_users.user_head import USER_HEAD_PREFIX, read_attributes
from chronotope.models.config import ModelConfig
from chronotope.models.content_head import check_encoders, model_catalog
from chronotope.models.network import ChronotopeNet, NetworkOutput
from chronotope.models.priors import Priors, count_priors, without_events_of
from chronotope.models.transfer.network_file import load_tensors, save_tensors
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.garbage import collect_afterwards
from chronotope.runtime.quick_imports import quick_imports
from chronotope.training.augmentation.training_batches import training_batches
from chronotope.training.cold_start import fit_cold_start
from chronotope.training.cold_users import fit_user_head
from chronotope.training.config import TrainingConfig
from chronotope.training.discovery import fit_discovery_head
from chronotope.training.embedding_transfer import CONTENT_PREFIX, transfer_network
from chronotope.training.fine_tune import fine_tune
from chronotope.training.item_context import fit_item_context
from chronotope.training.prequential import (
    MIN_WIDTH,
    PrequentialRound,
    RoundBatches,
    make_rounds,
    new_targets,
    validation_sample,
)
from chronotope.training.pretrained_start import start_parameters

if TYPE_CHECKING:  # Lightning takes seconds to import, and only a training needs it
    from chronotope.training.lightning_module import NextEventModule


class ChronotopeRecommender:
    """Space-time kernels, priors and an optional backbone, trained by Lightning."""

    def __init__(
        self,
        model: ModelConfig | None = None,
        training: TrainingConfig | None = None,
        *,
        checkpoint_dir: Path | None = None,
        tracker: Tracker | None = None,
        progress: bool = False,
        engine: EngineConfig | None = None,
    ) -> None:
        """Configure; ``fit`` builds the network.

        Args:
            model: Hyper-parameters of the network.
            training: Hyper-parameters of the training.
            checkpoint_dir: Directory of the checkpoints; an interrupted training resumes from it.
                None uses a temporary directory.
            tracker: Receiver of the losses.
            progress: Show a progress bar.
            engine: Where processes that share batches run: on a Ray cluster if it is ``ray``, else
                on this machine.
        """
        self.model = model or ModelConfig()
        self.training = training or TrainingConfig()
        self.checkpoint_dir, self.tracker, self.progress = checkpoint_dir, tracker, progress
        self._engine = engine or EngineConfig()
        self._net: ChronotopeNet | None = None
        self._priors: Priors | None = None
        self._catalog: Catalog | None = None
        self._seen_until_s = 0
        self.item_context_worth: tuple[ColumnWorth, ...] = ()

    @property
    def name(self) -> str:
        """Name of the model in tables."""
        return self.model.family

    @property
    def history_len(self) -> int | None:
        """Maximum number of events that the model reads."""
        return self.model.history_len

    @property
    def net(self) -> ChronotopeNet:
        """The trained network.

        Raises:
            ChronotopeError: ``fit`` has not run.
        """
        if self._net is None:
            raise ChronotopeError("The recommender is not trained", way_out="Call fit first")
        return self._net

    @property
    def content(self) -> ItemContent | None:
        """Content that the trained network reads; None if it reads none."""
        return None if self._catalog is None else self._catalog.content

    @property
    def attributes(self) -> tuple[AttributeColumn, ...]:
        """User attributes that the trained network reads; none if they have no weight."""
        attributes = None if self._catalog is None else self._catalog.user_attributes
        if attributes is None or not read_attributes(self.net.user_head):
            return ()
        return attributes.columns

    @property
    def item_context(self) -> tuple[ItemContextColumn, ...]:
        """Columns of the item context that the trained network's graph takes; none if unread."""
        if self._catalog is None or self.net.item_context_head is None:
            return ()
        return self._catalog.item_context

    @property
    def priors(self) -> Priors:
        """Priors of the latest observation.

        Raises:
            ChronotopeError: ``fit`` has not run.
        """
        if self._priors is None:
            raise ChronotopeError("The recommender is not trained", way_out="Call fit first")
        return self._priors

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Train on a log: select the epoch on its last part, then fine-tune on that part.

        The last part of the log first selects the best epoch. Then one pass at a tenth of the
        learning rate trains on its targets, and the priors are counted from the full log.
        """
        with collect_afterwards():  # Lightning's trainers are cycles that hold all its arrays
            self._train(log, catalog)
        self.observe(log)
        return self

    def _train(self, log: EventLog, catalog: Catalog) -> None:
        """Build and train the network."""
        with quick_imports():
            from lightning import seed_everything

            from chronotope.training.lightning_module import NextEventModule
        self.model = self.model.decided_by(log.repeat_share(), catalog)
        catalog = model_catalog(catalog, self.model)
        seed_everything(self.training.seed, workers=False, verbose=False)
        net = ChronotopeNet(self.model, catalog)
        net.context_head.measure(log)
        context_log, log = log, replace(log, item_context=None)  # read by a fitted head alone
        config = start_parameters(net, self.training)
        if config.is_zero_shot:
            self._net, self._catalog, self._seen_until_s = net.eval(), catalog, 0
            return
        train_rounds, valid_rounds = make_rounds(log, catalog, config)

        def make_batches(time_rounds: list[PrequentialRound], *, is_training: bool) -> RoundBatches:
            return RoundBatches(
                log, time_rounds, config, model_config=self.model, is_training=is_training
            )

        train_batches, valid_batches = (
            training_batches(log, catalog, config, self.model, train_rounds, valid_rounds),
            make_batches(validation_sample(valid_rounds, config), is_training=False),
        )
        n_steps = config.max_epochs * len(train_batches)
        module = NextEventModule(net, config, n_steps=n_steps, tracker=self.tracker)
        with tempfile.TemporaryDirectory() as temp_dir:
            best_checkpoint = self._run(
                module, train_batches, valid_batches, self.checkpoint_dir or Path(temp_dir)
            )
            state = torch.load(best_checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(state)
        self._fit_item_context(net, context_log, catalog, valid_rounds[-1])
        fine_tune(net, make_batches(valid_rounds, is_training=True), progress=self.progress)
        fit_discovery_head(net, log, catalog, self.training, self.model)
        fit_cold_start(net, log, catalog, [*train_rounds, *valid_rounds], self.training)
        fit_user_head(net, log, catalog, self.training)
        self._net, self._catalog, self._seen_until_s = net.eval(), catalog, 0

    def _fit_item_context(
        self, net: ChronotopeNet, log: EventLog, catalog: Catalog, later: PrequentialRound
    ) -> None:
        """Fit the weights of the item context, and drop columns that help nothing."""
        self.item_context_worth = fit_item_context(net, log, catalog, later, self.training)
        self.model = self.model.model_copy(update={"item_context": net.config.item_context})

    def observe(self, log: EventLog) -> None:
        """Recount the priors from a longer log; parameters do not change."""
        self._priors = self._count_priors(log)
        self._seen_until_s = max(self._seen_until_s, int(log.occurred_s.max(initial=0)))

    def recount(self, log: EventLog) -> None:
        """Recount all priors but the EASE weights, which cost more than all others.

        Args:
            log: All events before the moment.
        """
        affinity = {
            name: getattr(self.priors, name) for name in ("affinity_item", "affinity_weight")
        }
        if self._catalog is not None:
            self._priors = count_priors(log, self._catalog)._replace(**affinity)

    def set_activity(self, activity: Tensor) -> None:
        """Replace the live counts among the priors, which is cheap; all others stay.

        Args:
            activity: Result of ``ActivityCounter.at``.
        """
        self._priors = self.priors._replace(activity=activity)

    def _count_priors(self, log: EventLog) -> Priors:
        """Priors of a log; EASE only for a discovery head that reads it."""
        if self._catalog is None:
            raise ChronotopeError("The recommender is not trained", way_out="Call fit first")
        head = self.net.discovery_head
        if self.net.item_context_head is None and log.item_context is not None:
            log = replace(log, item_context=None)  # nothing reads its lift
        return count_priors(log, self._catalog, affinity=head is not None and head.active)

    def transfer_to(self, log: EventLog, catalog: Catalog) -> None:
        """Transfer the model to another catalogue: embeddings move by id, new ids get the mean.

        Args:
            log: Events in the indices of that catalogue; the priors are recounted from
                those up to the last observed event.
            catalog: The new catalogue.
        """
        if self._catalog is None:
            raise ChronotopeError("The recommender is not trained", way_out="Call fit first")
        catalog = model_catalog(catalog, self.net.config)
        self._net = transfer_network(self.net, self._catalog, catalog)
        self._catalog = catalog
        self._priors = self._count_priors(log.before(self._seen_until_s + 1))

    def with_content(
        self, content: ItemContent, is_hidden: npt.NDArray[np.bool_] | None = None
    ) -> Self:
        """Copy that reads other content vectors; the original is not changed.

        Args:
            content: Content in the shape of the catalogue's, such as shuffled vectors.
            is_hidden: Items to treat as if they had no events, bool, shape (n_items,).

        Raises:
            ChronotopeError: The recommender is not trained on a catalogue with content.
        """
        if self._catalog is None or self.net.content_head is None:
            raise ChronotopeError(
                "The recommender reads no content", way_out="Train it on items with content"
            )
        changed = copy.copy(self)
        changed._net = copy.deepcopy(self.net)
        changed._catalog = replace(self._catalog, content=content)
        if changed._net.content_head is not None:
            changed._net.content_head.vectors.copy_(torch.from_numpy(content.vectors))
        hidden = np.zeros(len(content.vectors), np.bool_) if is_hidden is None else is_hidden
        changed._priors = without_events_of(self.priors, changed._catalog, torch.from_numpy(hidden))
        return changed

    def update(self, log: EventLog) -> None:
        """Warm start: train on the events since the last observation, then observe them.

        One pass at a fifth of the learning rate over the new targets, with the priors
        counted before them.

        Args:
            log: The full log, earlier events included.
        """
        new_positions = new_targets(log, self.training, since_s=self._seen_until_s)
        if len(new_positions):
            batches = RoundBatches(
                log,
                [PrequentialRound(new_positions, self.priors)],
                self.training,
                model_config=self.model,
                is_training=True,
            )
            fine_tune(self.net, batches, rate_share=0.2, progress=self.progress)
        self.observe(log)

    def save(self, model_path: Path) -> None:
        """Write configs, parameters and priors to a file, atomically."""
        head = self.net.content_head
        content = {
            "model": self.model.model_dump_json(),
            "training": self.training.model_dump_json(),
            "net": dict(self.net.state_dict()),
            "priors": self.priors._asdict(),
            "seen_until_s": self._seen_until_s,
            "encoders": json.dumps({} if head is None else head.encoders),
        }
        save_tensors(model_path, content)

    @classmethod
    def load(cls, model_path: Path, catalog: Catalog) -> Self:
        """Read a saved model; only tensors and strings are unpickled.

        Raises:
            ArtifactError: The file is missing, damaged or of another catalogue.
            ConfigError: The content of the catalogue is of other encoders.
        """
        try:
            content = load_tensors(model_path)
            model = cls(
                ModelConfig.model_validate_json(content["model"]),
                TrainingConfig.model_validate_json(content["training"]),
            )
            if not any(name.startswith(CONTENT_PREFIX) for name in content["net"]):
                # trained on a catalogue without content, or before there was any
                model.model = model.model.model_copy(update={"content": False})
            catalog = model_catalog(catalog, model.model)
            net = ChronotopeNet(model.model, catalog)
            if net.content_head is not None and catalog.content is not None:
                check_encoders(json.loads(content["encoders"]), catalog.content)
            # a model stored before there was a user head, or a metric, has none of their tables
            unfitted = {
                name: table
                for name, table in net.state_dict().items()
                if name.startswith((USER_HEAD_PREFIX, f"{CONTENT_PREFIX}metric"))
            }
            net.load_state_dict(unfitted | content["net"])
            model._net, model._catalog = net.eval(), catalog
            priors = content["priors"]
            # of models stored before there was content
            names = ("content_popularity", "cold_share")
            no_content = dict.fromkeys(names, torch.zeros_like(priors["popularity"]))
            model._priors = Priors(**no_content | priors)
            model._seen_until_s = int(content["seen_until_s"])
        except ConfigError:
            raise
        except Exception as error:  # a damaged archive may raise anything
            raise ArtifactError(
                "The trained model cannot be read", received=model_path, way_out="Train it again"
            ) from error
        return model

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Logits of all items, float32, shape (B, n_items)."""
        with torch.no_grad():
            return self.net.item_scores(self._to_batch(queries), self.priors).numpy()

    def answer(self, queries: Queries) -> ModelOutput:
        """Outputs of item, time and place head as arrays, as of an exported model."""
        return ModelOutput(*(output.numpy() for output in self.outputs(queries)))

    def outputs(self, queries: Queries) -> NetworkOutput:
        """Outputs of item, time and place head for a batch of queries."""
        with torch.no_grad():
            outputs: NetworkOutput = self.net(self._to_batch(queries), self.priors)
        return outputs

    def _to_batch(self, queries: Queries) -> Batch:
        """Queries as tensors, as wide as their longest history."""
        width = max(MIN_WIDTH, min(queries.item_idx.shape[1], self.model.history_len))
        levels = context_columns(self.attributes)
        return to_batch(queries, width, (*self.model.context, *levels))

    def _run(
        self,
        module: "NextEventModule",
        train_batches: RoundBatches,
        valid_batches: RoundBatches,
        checkpoint_dir: Path,
    ) -> Path:
        """Train until the validation loss stops improving; returns the best checkpoint."""
        from chronotope.training.ddp import run_ddp, run_ddp_on_ray
        from chronotope.training.trainer import TrainingJob

        last_checkpoint = checkpoint_dir / "last.ckpt"
        job = TrainingJob(
            module,
            train_batches,
            valid_batches,
            checkpoint_dir,
            last_checkpoint if last_checkpoint.exists() else None,
        )
        if self.training.n_processes == 1:
            return job.run(progress=self.progress)
        n_processes, progress = self.training.n_processes, self.progress
        if self._engine.kind == "ray":
            return run_ddp_on_ray(job, n_processes, self._engine, progress=progress)
        return run_ddp(job, n_processes, progress=progress)
