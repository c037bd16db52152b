"""Text classifiers of a dataset as files below the project root, one for each column."""

import hashlib
from pathlib import Path
from typing import Final

from chronotope.content.labels.text_classifier import TextClassifier
from chronotope.contracts.errors import ArtifactError
from chronotope.runtime.durable_files import replacing

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
    with replacing(path) as draft_path:
        draft_path.write_bytes(hashlib.sha256(file_content).digest() + file_content)


def load_classifier(path: Path) -> TextClassifier | None:
    """Classifier of a file; None if there is none.

    Args:
        path: Its file.

    Raises:
        ArtifactError: The file is damaged.
    """
    if not path.exists():
        return None
    stored_bytes = path.read_bytes()
    file_content = stored_bytes[_DIGEST_BYTES:]
    if hashlib.sha256(file_content).digest() != stored_bytes[:_DIGEST_BYTES]:
        raise ArtifactError(
            "The file of the text classifier is damaged", received=path, way_out=_RETRAIN
        )
    return TextClassifier.from_bytes(file_content)
