"""YAML that people write: a key stands once, and neither depth nor aliases grow without bound."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.strict_json import shown_key
from chronotope.runtime.regular_files import read_bounded

MAX_BYTES: Final = 1_000_000
"""A larger file is no configuration."""

MAX_DEPTH: Final = 32
"""Mappings and lists within each other."""

MAX_NODES: Final = 100_000
"""Keys and values, each alias counted as often as it is used."""


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        ConfigError: It cannot be read, is no YAML, holds a key twice in a mapping or a value
            that does not exist, such as 30 February, or is too large once aliases are expanded.
    """
    try:
        return _parsed(read_bounded(path, MAX_BYTES).decode("utf-8"))
    except RecursionError:
        problem: object = f"it is nested more than {MAX_DEPTH} levels deep"
    except yaml.YAMLError as error:
        problem = _without_quotes(error)
    except (OSError, ValueError, OverflowError) as error:
        problem = error
    raise ConfigError(f"Cannot read {path}", received=problem, way_out="Correct the file")


def _without_quotes(error: yaml.YAMLError) -> str:
    """What is wrong and where; the parser also quotes the line, which may hold a password."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return type(error).__name__
    mark = error.problem_mark
    return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"


def _parsed(text: str) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Bounds().size(node, depth=1)
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Bounds:
    """Sizes of the nodes of a document, each measured once however often an alias names it."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def size(self, node: yaml.Node, depth: int) -> int:
        """Nodes at and below one, aliases expanded.

        Raises:
            ValueError: A bound is broken, a key stands twice, or a node contains itself.
        """
        key = id(node)
        if key in self._open:
            raise ValueError(f"an alias{_where(node)} contains itself")
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep{_where(node)}")
        if key not in self._sizes:
            self._open.add(key)
            _require_unique_keys(node)
            self._sizes[key] = 1 + sum(self.size(child, depth + 1) for child in _children(node))
            self._open.remove(key)
        if self._sizes[key] > MAX_NODES:
            raise ValueError(f"its aliases expand to more than {MAX_NODES:,} values{_where(node)}")
        return self._sizes[key]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def _require_unique_keys(node: yaml.Node) -> None:
    """A merge key (``<<``) may stand several times: what it brings in is no key of its own."""
    if not isinstance(node, yaml.MappingNode):
        return
    known: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if (key.tag, key.value) in known:
                raise ValueError(f"key {shown_key(key.value)} stands twice{_where(key)}")
            known.add((key.tag, key.value))


def _where(node: yaml.Node) -> str:
    return f" (line {node.start_mark.line + 1})"
