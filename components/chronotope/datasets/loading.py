"""Find and read a dataset's YAML."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from chronotope.contracts.errors import ConfigError
from chronotope.datasets.locations import source_folders
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.strict_yaml import read_yaml
from chronotope.runtime.allowed_paths import require_allowed_path

CONF_DIR: Final = Path("conf/datasets")
_SHOWN_PROBLEMS: Final = 50


def load_spec(
    path_or_name: str | Path, *, conf_dir: Path = CONF_DIR, data_dir: Path | None = None
) -> DatasetSpec:
    """Read a dataset's YAML; every mistake in it is reported at once.

    Args:
        path_or_name: A YAML file, or the name of one in ``conf_dir``.
        conf_dir: Folder of the dataset files, relative to the project root.
        data_dir: Where the data files are, instead of what the YAML says.

    Raises:
        ConfigError: No such file; it, or the data that it names, lie where flows may not read;
            not YAML, or keys that are wrong or missing.
        SourceError: An http address stands in a variable.
    """
    path = _find(path_or_name, conf_dir)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping", received=type(content).__name__)
    if data_dir is not None:
        content["data_dir"] = str(data_dir)
    try:
        spec = DatasetSpec.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path} is wrong: {_all_problems(error)}") from error
    for folder in source_folders(spec):
        require_allowed_path(folder)
    return spec


def dataset_names(conf_dir: Path = CONF_DIR) -> tuple[str, ...]:
    """Names that ``load_spec`` finds in a folder, sorted."""
    return tuple(sorted(path.stem for path in conf_dir.glob("*.yaml")))


def _find(path_or_name: str | Path, conf_dir: Path) -> Path:
    for path in (Path(path_or_name), conf_dir / f"{path_or_name}.yaml"):
        with suppress(OSError):  # such as a name that is too long to be one
            if path.is_file():
                return require_allowed_path(path)
    known = ", ".join(dataset_names(conf_dir)) or "none"
    raise ConfigError(
        "No such dataset",
        received=path_or_name,
        way_out=f"Give a YAML file or one of the names in {conf_dir}: {known}",
    )


def _all_problems(error: ValidationError) -> str:
    problems = [
        f"{'.'.join(map(str, found['loc'])) or 'file'}: {found['msg']}"
        for found in error.errors(include_url=False)
    ]
    more = len(problems) - _SHOWN_PROBLEMS
    shown = problems[:_SHOWN_PROBLEMS] + ([f"and {more:,} more"] if more > 0 else [])
    return "; ".join(shown)
