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
    _require_enough(train, validation, labels)
    torch.manual_seed(config.seed)
    train = train.sample(config.max_texts, config.seed)
    term_features = TermFeatures.fit(train.texts, max_terms=config.max_terms)
    bert_network, token_inputs = _open_backbone(train.texts, config)
    config = config.for_backbone(is_pretrained=isinstance(token_inputs.vocabulary, bytes))
    classifier_network = TextClassifierNetwork(
        bert_network, len(labels), len(term_features.terms), config.dropout
    )
    text_inputs = [
        TextInputs(
            token_inputs.split(text_part.texts),
            term_features.rows(text_part.texts),
            token_inputs.windows.padding,
        ).with_frozen_states(bert_network)
        for text_part in (train, validation)
    ]
    train_batches = _batches(text_inputs[0], train, config, seed=config.seed)
    valid_batches = _batches(text_inputs[1], validation, config)
    classifier_module = TextClassifierModule(
        classifier_network,
        config,
        label_weights=_label_weights(train, len(labels), config.class_balance),
        n_steps=(config.max_epochs or 1) * len(train_batches),
    )
    _train(classifier_module, train_batches, valid_batches)
    return _export(
        classifier_network, token_inputs, term_features, labels, validation, valid_batches
    )


def _require_enough(train: LabelledTexts, validation: LabelledTexts, labels: Sequence[str]) -> None:
    if len(labels) < 2 or not len(validation.texts) or not len(train.texts):
        raise NotEnoughData(
            "There are too few labelled texts to train a classifier",
            received=f"{len(train.texts)} texts of {len(labels)} labels, "
            f"{len(validation.texts)} for the validation",
            way_out="Give more items a label; two labels are needed at least",
        )


def _batches(
    text_inputs: TextInputs,
    text_part: LabelledTexts,
    config: TextClassifierConfig,
    seed: int | None = None,
) -> LabelledBatches:
    return LabelledBatches(
        text_inputs,
        text_part.label_idx,
        text_part.n_items,
        batch_size=config.batch_size,
        seed=seed,
    )


def _open_backbone(
    texts: Sequence[str], config: TextClassifierConfig
) -> tuple[BertNetwork, TokenInputs]:
    """Transformer and the tokens that it reads."""
    if config.backbone in ("auto", "minilm"):
        try:
            weight_bytes, tokenizer_json = minilm_files()
            token_inputs = TokenInputs(tokenizer_json, config.max_tokens)
            token_inputs.split([""])  # raises where the package tokenizers is missing
            n_frozen = MINILM_SHAPE.n_layers - min(config.trained_layers, MINILM_SHAPE.n_layers)
            return (
                BertNetwork.from_weights(
                    read_safetensors(weight_bytes),
                    MINILM_SHAPE,
                    n_frozen=n_frozen,
                    dropout=config.dropout,
                ),
                token_inputs,
            )
        except MissingWeights:
            if config.backbone == "minilm":
                raise
    subword_vocabulary = SubwordVocabulary.fit(texts, max_pieces=config.max_pieces)
    bert_sizes = (subword_vocabulary.size, config.max_tokens, config.dim, 2 * config.dim)
    bert_shape = BertShape(config.n_layers, config.n_heads)
    return BertNetwork(bert_sizes, bert_shape, dropout=config.dropout), TokenInputs(
        subword_vocabulary, config.max_tokens
    )


def _label_weights(train: LabelledTexts, n_labels: int, class_balance: float) -> torch.Tensor:
    """Weight of each label, ``n ** -class_balance``; the mean over items is 1."""
    label_counts = np.maximum(np.bincount(train.label_idx, train.n_items, n_labels), 1)
    export_weights = label_counts**-class_balance
    return torch.from_numpy(
        (export_weights * label_counts.sum() / (export_weights * label_counts).sum()).astype(
            np.float32
        )
    )


def _train(
    module: TextClassifierModule, train_batches: LabelledBatches, valid_batches: LabelledBatches
) -> None:
    """Train until the macro-F1 stops rising; the module has the best epoch's weights then."""
    config = module.config
    with tempfile.TemporaryDirectory() as checkpoint_dir, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # of Lightning itself
        best_epoch = ModelCheckpoint(
            Path(checkpoint_dir), "best", monitor="macro_f1", mode="max", save_weights_only=True
        )
        stopping_callback = EarlyStopping("macro_f1", patience=config.patience, mode="max")
        lightning_trainer = make_trainer(
            [best_epoch, stopping_callback],
            config.max_epochs or 1,
            accelerator="cpu",
            progress=False,
        )
        lightning_trainer.fit(module, train_batches, valid_batches)
        best_checkpoint = torch.load(best_epoch.best_model_path, weights_only=True)
        module.load_state_dict(best_checkpoint["state_dict"])
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
        validation_logits = (
            torch.cat([network(batch.texts) for batch in valid_batches]).double().numpy()
        )
    temperature = fit_temperature(validation_logits, validation.label_idx, validation.n_items)
    label_probabilities = np.exp(
        validation_logits / temperature - (validation_logits / temperature).max(1, keepdims=True)
    )
    label_probabilities /= label_probabilities.sum(axis=1, keepdims=True)
    predicted_idx = label_probabilities.argmax(axis=1)
    is_right = predicted_idx == validation.label_idx
    # An item's weight: as many entries as there are items with this text.
    n_items = validation.n_items.astype(np.int64)
    export_weights = ClassifierWeights(
        network.bert.weight_arrays(),
        network.bert.bert_shape,
        network.deep.weight.detach().numpy(),
        network.deep.bias.detach().numpy(),
        network.terms.weight.detach().numpy(),
    )
    return TextClassifier(
        labels=tuple(labels),
        model=build_text_classifier(export_weights, temperature),
        tokens=tokens,
        terms=terms,
        validation=ValidationConfidence(
            np.repeat(label_probabilities.max(axis=1).astype(np.float32), n_items),
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
