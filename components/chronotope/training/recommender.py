"""The product's model behind the ``Recommender`` protocol."""

import tempfile
from pathlib import Path
from typing import Self

import lightning
import numpy as np
import numpy.typing as npt
import torch

from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.contracts.errors import ArtifactError, ChronotopeError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.protocols import Tracker
from chronotope.contracts.queries import Queries
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet, NetworkOutput
from chronotope.models.network_file import load_tensors, save_tensors
from chronotope.models.priors import Priors, count_priors
from chronotope.training.config import TrainingConfig
from chronotope.training.ddp import run_ddp
from chronotope.training.embedding_transfer import transfer_network
from chronotope.training.lightning_module import NextEventModule
from chronotope.training.prequential import PrequentialRound, RoundBatches, make_rounds, new_targets
from chronotope.training.trainer import TrainingJob, make_trainer


class ChronotopeRecommender:
    """Space-time kernels, priors and an optional backbone, trained by Lightning."""

    def __init__(
        self,
        model: ModelConfig | None = None,
        training: TrainingConfig | None = None,
        *,
        folder: Path | None = None,
        tracker: Tracker | None = None,
        progress: bool = False,
    ) -> None:
        """Configure; nothing is built before ``fit``.

        Args:
            model: Size and shape.
            training: Length and step sizes.
            folder: Where checkpoints go; a training cut off there resumes. None uses
                a temporary folder.
            tracker: Where losses are reported.
            progress: Show a progress bar.
        """
        self.model = model or ModelConfig()
        self.training = training or TrainingConfig()
        self.folder, self.tracker, self.progress = folder, tracker, progress
        self._net: ChronotopeNet | None = None
        self._priors: Priors | None = None
        self._catalog: Catalog | None = None
        self._seen_until_s = 0

    @property
    def name(self) -> str:
        """Name shown in tables."""
        return self.model.family

    @property
    def history_len(self) -> int | None:
        """Longest history the model reads."""
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
    def priors(self) -> Priors:
        """The live priors.

        Raises:
            ChronotopeError: ``fit`` has not run.
        """
        if self._priors is None:
            raise ChronotopeError("The recommender is not trained", way_out="Call fit first")
        return self._priors

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Train on a log, keep the epoch best on its last stretch, learn that too.

        The last stretch first chooses the epoch; then one pass over it at a tenth of
        the step size takes its targets in, and the priors are counted from everything.
        """
        lightning.seed_everything(self.training.seed, workers=False, verbose=False)
        net = ChronotopeNet(self.model, catalog)
        net.surroundings.measure(log)
        rounds, later = make_rounds(log, catalog, self.training)

        def batches(part: list[PrequentialRound], *, train: bool) -> RoundBatches:
            return RoundBatches(log, part, self.training, reads=self.model, train=train)

        train, valid = batches(rounds, train=True), batches(later, train=False)
        n_steps = self.training.max_epochs * len(train)
        module = NextEventModule(net, self.training, n_steps=n_steps, tracker=self.tracker)
        with tempfile.TemporaryDirectory() as scratch:
            best = self._run(module, train, valid, self.folder or Path(scratch))
            state = torch.load(best, weights_only=True)["state_dict"]
        module.load_state_dict(state)
        fine_tune(net, batches(later, train=True), progress=self.progress)
        self._net, self._catalog, self._seen_until_s = net.eval(), catalog, 0
        self.observe(log)
        return self

    def observe(self, log: EventLog) -> None:
        """Recount the priors from everything known by now; parameters stay."""
        if self._catalog is None:
            raise ChronotopeError("The recommender is not trained", way_out="Call fit first")
        self._priors = count_priors(log, self._catalog)
        self._seen_until_s = max(self._seen_until_s, int(log.occurred_s.max(initial=0)))

    def adopt(self, log: EventLog, catalog: Catalog) -> None:
        """Answer in another catalogue from now on: ids are kept, new ones start as the mean.

        Args:
            log: Events in the indices of that catalogue; the priors are counted anew from
                those that were known.
            catalog: The catalogue.
        """
        if self._catalog is None:
            raise ChronotopeError("The recommender is not trained", way_out="Call fit first")
        self._net = transfer_network(self.net, self._catalog, catalog)
        self._catalog = catalog
        self._priors = count_priors(log.before(self._seen_until_s + 1), catalog)

    def update(self, log: EventLog) -> None:
        """Learn from what came since the last look, warm, then observe it.

        One pass at a fifth of the step size over the new targets, with the priors as
        they were before them.

        Args:
            log: Everything known by now, what was known before included.
        """
        new = new_targets(log, self.training, since_s=self._seen_until_s)
        if len(new):
            batches = RoundBatches(
                log,
                [PrequentialRound(new, self.priors)],
                self.training,
                reads=self.model,
                train=True,
            )
            fine_tune(self.net, batches, step_share=0.2, progress=self.progress)
        self.observe(log)

    def save(self, path: Path) -> None:
        """Write configs, parameters and priors, whole or not at all."""
        content = {
            "model": self.model.model_dump_json(),
            "training": self.training.model_dump_json(),
            "net": dict(self.net.state_dict()),
            "priors": self.priors._asdict(),
            "seen_until_s": self._seen_until_s,
        }
        save_tensors(path, content)

    @classmethod
    def load(cls, path: Path, catalog: Catalog) -> Self:
        """Read what ``save`` wrote; nothing is unpickled but tensors and strings.

        Raises:
            ArtifactError: The file is missing, damaged or of another catalogue.
        """
        try:
            kept = load_tensors(path)
            model = cls(
                ModelConfig.model_validate_json(kept["model"]),
                TrainingConfig.model_validate_json(kept["training"]),
            )
            net = ChronotopeNet(model.model, catalog)
            net.load_state_dict(kept["net"])
            model._net, model._catalog = net.eval(), catalog
            model._priors = Priors(**kept["priors"])
            model._seen_until_s = int(kept["seen_until_s"])
        except Exception as error:  # what a damaged file does to its reader cannot be foretold
            raise ArtifactError(
                "The trained model cannot be read", received=path, way_out="Train it again"
            ) from error
        return model

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Logits of all items, float32, shape (B, n_items)."""
        return self.outputs(queries).item_scores.numpy()

    def answer(self, queries: Queries) -> ModelOutput:
        """What, when and where, as the exported model says it."""
        return ModelOutput(*(said.numpy() for said in self.outputs(queries)))

    def outputs(self, queries: Queries) -> NetworkOutput:
        """What, when and where for a batch of queries."""
        with torch.no_grad():
            batch = to_batch(queries, self.model.history_len, self.model.context)
            said: NetworkOutput = self.net(batch, self.priors)
        return said

    def _run(
        self,
        module: NextEventModule,
        train: RoundBatches,
        valid: RoundBatches,
        folder: Path,
    ) -> Path:
        """Train until later time no longer improves; returns the best checkpoint."""
        last = folder / "last.ckpt"
        job = TrainingJob(module, train, valid, folder, last if last.exists() else None)
        if self.training.n_processes == 1:
            return job.run(progress=self.progress)
        return run_ddp(job, self.training.n_processes, progress=self.progress)


def fine_tune(
    net: ChronotopeNet, batches: RoundBatches, *, step_share: float = 0.1, progress: bool = False
) -> ChronotopeNet:
    """Train a network in place for one pass at a share of the step size; returns it."""
    config = batches.config
    gentle = config.model_copy(update={"learning_rate": step_share * config.learning_rate})
    module = NextEventModule(net, gentle, n_steps=len(batches))
    trainer = make_trainer(
        [], 1, progress=progress, limit_val_batches=0, enable_checkpointing=False
    )
    net.train()
    trainer.fit(module, batches, batches)
    net.eval()
    return net
