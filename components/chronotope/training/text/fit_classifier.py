"""Fitting of a text classifier: vocabulary, training, calibration, export."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.encoders.pretrained_text import MINILM_SHAPE, minilm_files, read_safetensors
from chronotope.content.graphs.bert import BertShape
from chronotope.content.graphs.text_classifier import ClassifierWeights, build_text_classifier
from chronotope.content.labels.calibration import ValidationConfidence, fit_temperature
from chronotope.content.labels.subword_vocabulary import SubwordVocabulary
from chronotope.content.labels.term_features import TermFeatures
from chronotope.content.labels.text_classifier import TextClassifier, TokenInputs
from chronotope.contracts.errors import NotEnoughData
from chronotope.metrics.classification import macro_f1
from chronotope.training.text.bert_network import BertNetwork
from chronotope.training.text.classifier_module import TextClassifierModule
from chronotope.training.text.classifier_network import TextClassifierNetwork
from chronotope.training.text.config import TextClassifierConfig
from chronotope.training.text.labelled_texts import LabelledTexts
from chronotope.training.text.text_batches import LabelledBatches, TextInputs
from chronotope.training.trainer import make_trainer


def fit_text_classifier(
    train: LabelledTexts,
    validation: LabelledTexts,
    labels: Sequence[str],
    config: TextClassifierConfig,
) -> TextClassifier:
    """Train a classifier; equal inputs give an equal classifier.

    Args:
        train: Texts to learn.
        validation: Texts that select the epoch and calibrate the confidence.
        labels: Names of the labels by index.
        config: Sizes and hyper-parameters.

    Raises:
        NotEnoughData: There are fewer than two labels, or no validation texts.
        MissingWeights: The weights that the configuration names are not installed.
    """
    if len(labels) < 2 or not len(validation.texts) or not len(train.texts):
        raise NotEnoughData(
            "There are too few labelled texts to train a classifier",
            received=f"{len(train.texts)} texts of {len(labels)} labels, "
            f"{len(validation.texts)} for the validation",
            way_out="Give more items a label; two labels are needed at least",
        )
    torch.manual_seed(config.seed)
    train = train.sample(config.max_texts, config.seed)
    terms = TermFeatures.fit(train.texts, max_terms=config.max_terms)
    bert, tokens = _open_backbone(train.texts, config)
    config = config.for_backbone(is_pretrained=isinstance(tokens.vocabulary, bytes))
    network = TextClassifierNetwork(bert, len(labels), len(terms.terms), config.dropout)
    train_inputs, valid_inputs = (
        TextInputs(
            tokens.split(part.texts), terms.rows(part.texts), tokens.windows.padding
        ).with_frozen_states(bert)
        for part in (train, validation)
    )
    train_batches = LabelledBatches(
        train_inputs,
        train.label_idx,
        train.n_items,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    valid_batches = LabelledBatches(
        valid_inputs, validation.label_idx, validation.n_items, batch_size=config.batch_size
    )
    module = TextClassifierModule(
        network,
        config,
        label_weights=_label_weights(train, len(labels), config.class_balance),
        n_steps=(config.max_epochs or 1) * len(train_batches),
    )
    _train(module, train_batches, valid_batches)
    return _export(network, tokens, terms, labels, validation, valid_batches)


def _open_backbone(
    texts: Sequence[str], config: TextClassifierConfig
) -> tuple[BertNetwork, TokenInputs]:
    """Transformer and the tokens that it reads."""
    if config.backbone in ("auto", "minilm"):
        try:
            weight_bytes, tokenizer_json = minilm_files()
            tokens = TokenInputs(tokenizer_json, config.max_tokens)
            tokens.split([""])  # raises where the package tokenizers is missing
            n_frozen = MINILM_SHAPE.n_layers - min(config.trained_layers, MINILM_SHAPE.n_layers)
            return (
                BertNetwork.from_weights(
                    read_safetensors(weight_bytes),
                    MINILM_SHAPE,
                    n_frozen=n_frozen,
                    dropout=config.dropout,
                ),
                tokens,
            )
        except MissingWeights:
            if config.backbone == "minilm":
                raise
    vocabulary = SubwordVocabulary.fit(texts, max_pieces=config.max_pieces)
    sizes = (vocabulary.size, config.max_tokens, config.dim, 2 * config.dim)
    shape = BertShape(config.n_layers, config.n_heads)
    return BertNetwork(sizes, shape, dropout=config.dropout), TokenInputs(
        vocabulary, config.max_tokens
    )


def _label_weights(train: LabelledTexts, n_labels: int, class_balance: float) -> torch.Tensor:
    """Weight of each label, ``n ** -class_balance``; the mean over items is 1."""
    counts = np.maximum(np.bincount(train.label_idx, train.n_items, n_labels), 1)
    weights = counts**-class_balance
    return torch.from_numpy((weights * counts.sum() / (weights * counts).sum()).astype(np.float32))


def _train(
    module: TextClassifierModule, train_batches: LabelledBatches, valid_batches: LabelledBatches
) -> None:
    """Train until the macro-F1 stops rising; the module has the best epoch's weights then."""
    config = module.config
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
        best_epoch = ModelCheckpoint(
            Path(folder), "best", monitor="macro_f1", mode="max", save_weights_only=True
        )
        stopping = EarlyStopping("macro_f1", patience=config.patience, mode="max")
        trainer = make_trainer(
            [best_epoch, stopping], config.max_epochs or 1, accelerator="cpu", progress=False
        )
        trainer.fit(module, train_batches, valid_batches)
        checkpoint = torch.load(best_epoch.best_model_path, weights_only=True)
        module.load_state_dict(checkpoint["state_dict"])
    module.eval()


def _export(
    network: TextClassifierNetwork,
    tokens: TokenInputs,
    terms: TermFeatures,
    labels: Sequence[str],
    validation: LabelledTexts,
    valid_batches: LabelledBatches,
) -> TextClassifier:
    """Classifier without torch, its temperature fitted on the validation texts."""
    network.eval()
    with torch.no_grad():
        logits = torch.cat([network(batch.texts) for batch in valid_batches]).double().numpy()
    temperature = fit_temperature(logits, validation.label_idx, validation.n_items)
    probabilities = np.exp(logits / temperature - (logits / temperature).max(1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted_idx = probabilities.argmax(axis=1)
    is_right = predicted_idx == validation.label_idx
    # An item's weight: as many entries as there are items with this text.
    n_items = validation.n_items.astype(np.int64)
    weights = ClassifierWeights(
        network.bert.weight_arrays(),
        network.bert.bert_shape,
        network.deep.weight.detach().numpy(),
        network.deep.bias.detach().numpy(),
        network.terms.weight.detach().numpy(),
    )
    return TextClassifier(
        labels=tuple(labels),
        model=build_text_classifier(weights, temperature),
        tokens=tokens,
        terms=terms,
        validation=ValidationConfidence(
            np.repeat(probabilities.max(axis=1).astype(np.float32), n_items),
            np.repeat(is_right, n_items),
        ),
        metrics={
            "macro_f1": macro_f1(
                validation.label_idx, predicted_idx, weights=n_items.astype(np.float64)
            ),
            "accuracy": float(np.average(is_right, weights=n_items)),
            "temperature": temperature,
            "n_validation": float(n_items.sum()),
        },
    )
