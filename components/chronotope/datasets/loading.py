"""Loading of dataset configurations from YAML."""

import difflib
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.escaping import shown_text
from chronotope.datasets.locations import source_folders
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.strict_yaml import read_yaml
from chronotope.datasets.yaml_problems import explain_problems, no_mapping_way_out
from chronotope.runtime.allowed_paths import require_allowed_path

CONF_DIR: Final = Path("conf/datasets")
_LOG_SUFFIXES: Final = frozenset({".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".xlsx"})


def load_spec(
    path_or_name: str | Path, *, conf_dir: Path = CONF_DIR, data_dir: Path | None = None
) -> DatasetSpec:
    """Load a dataset's YAML; one error reports all problems in it.

    Args:
        path_or_name: Path of a YAML file, or the name of one in ``conf_dir``.
        conf_dir: Folder of the dataset YAML files, relative to the project root.
        data_dir: Folder of the data files; replaces ``data_dir`` of the YAML.

    Raises:
        ConfigError: The file does not exist, is not YAML, or has wrong or missing keys; or the
            file or its data lie outside the folders that flows may use.
        SourceError: ``path`` contains a variable that expands to an http URL.
    """
    yaml_path = _find(path_or_name, conf_dir)
    if yaml_path.suffix.lower() in _LOG_SUFFIXES:
        raise ConfigError(
            "A dataset is described by a YAML file",
            received=shown_text(str(yaml_path)),
            way_out=f"Draft it with `chronotope init NAME {shown_text(str(yaml_path))}`",
        )
    yaml_content = read_yaml(yaml_path)
    if not isinstance(yaml_content, dict):
        content_kind, way_out = no_mapping_way_out(yaml_content)
        raise ConfigError(
            f"{yaml_path} must hold a mapping", received=content_kind, way_out=way_out
        )
    if data_dir is not None:
        yaml_content["data_dir"] = str(data_dir)
    try:
        dataset_spec = DatasetSpec.model_validate(yaml_content)
    except ValidationError as error:
        problem_texts = explain_problems(error, DatasetSpec)
        raise ConfigError(f"{yaml_path} is invalid: {problem_texts}") from error
    for source_dir in source_folders(dataset_spec):
        require_allowed_path(source_dir)
    return dataset_spec


def dataset_names(conf_dir: Path = CONF_DIR) -> tuple[str, ...]:
    """Names of the datasets that have a YAML file in a folder, sorted."""
    return tuple(sorted(yaml_path.stem for yaml_path in conf_dir.glob("*.yaml")))


def _find(path_or_name: str | Path, conf_dir: Path) -> Path:
    for candidate_path in (Path(path_or_name), conf_dir / f"{path_or_name}.yaml"):
        with suppress(OSError):  # such as a name that is too long for the file system
            if candidate_path.is_file():
                return require_allowed_path(candidate_path)
    known_names = dataset_names(conf_dir)
    alike = difflib.get_close_matches(str(path_or_name).lower().replace("-", "_"), known_names, 1)
    raise ConfigError(
        "No such dataset",
        received=shown_text(str(path_or_name)),
        way_out=(f"Did you mean {alike[0]}? " if alike else "")
        + f"Pass the path of a YAML file, or a name from {conf_dir}: "
        + (", ".join(known_names) or "none"),
    )
