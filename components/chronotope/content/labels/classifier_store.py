"""Text classifiers of a dataset, one for each column: files, or rows of the shared state."""

import hashlib
from pathlib import Path
from typing import Final

from chronotope.content.labels.text_classifier import TextClassifier
from chronotope.contracts.errors import ArtifactError
from chronotope.runtime.state import read_binary_document, write_binary_document

_DIGEST_BYTES: Final = 32
_RETRAIN: Final = "Train it again: chronotope classify DATASET --retrain"


def classifier_path(folder: Path, column: str) -> Path:
    """File of the classifier of one column.

    Args:
        folder: Folder of the dataset's classifiers.
        column: Column whose missing values it predicts.
    """
    name_digest = hashlib.blake2b(column.encode(), digest_size=4).hexdigest()
    safe_name = "".join(letter if letter.isalnum() else "-" for letter in column)
    return folder / f"{safe_name}-{name_digest}.classifier"


def save_classifier(classifier: TextClassifier, path: Path) -> None:
    """Write a classifier with its checksum; the file is replaced at once.

    Args:
        classifier: The classifier.
        path: Its file.
    """
    file_content = classifier.to_bytes()
    write_binary_document(path, hashlib.sha256(file_content).digest() + file_content)


def load_classifier(path: Path) -> TextClassifier | None:
    """Classifier of a file; None if there is none.

    Args:
        path: Its file.

    Raises:
        ArtifactError: The file is damaged.
        StoreError: The state database cannot be used.
    """
    stored_bytes = read_binary_document(path)
    if stored_bytes is None:
        return None
    file_content = stored_bytes[_DIGEST_BYTES:]
    if hashlib.sha256(file_content).digest() != stored_bytes[:_DIGEST_BYTES]:
        raise ArtifactError(
            "The file of the text classifier is damaged", received=path, way_out=_RETRAIN
        )
    return TextClassifier.from_bytes(file_content)
