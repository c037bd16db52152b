"""YAML files of users: what is wrong in one is told without quoting its lines."""

from pathlib import Path
from typing import Any

import yaml

from chronotope.contracts.errors import ConfigError


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        ConfigError: No such file, or not YAML. The parser's own message quotes the line, which
            may hold the password of a database.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {path}", received=error) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path} is not YAML", received=_problem(error), way_out="Correct that line"
        ) from None  # what lies below quotes the line


def _problem(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return type(error).__name__
    mark = error.problem_mark
    return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"
