"""Strict reader of YAML: unique keys, limited depth and limited alias expansion."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.strict_json import shown_key
from chronotope.datasets.yaml_problems import encoding_problem, marked_problem, parser_way_out
from chronotope.runtime.regular_files import read_bounded

MAX_BYTES: Final = 1_000_000
"""Maximum size of a file, bytes."""

MAX_DEPTH: Final = 32
"""Maximum nesting of mappings and lists."""

MAX_NODES: Final = 100_000
"""Maximum number of keys and values, with every use of an alias counted."""


def read_yaml(yaml_path: Path) -> Any:
    """Read a YAML file.

    Raises:
        ConfigError: The file cannot be read, is not valid YAML, repeats a key in a mapping,
            contains an impossible value, such as 30 February, or exceeds a limit above.
    """
    way_out = "Correct the YAML file"
    try:
        return _parse_yaml(read_bounded(yaml_path, MAX_BYTES).decode("utf-8"))
    except RecursionError:
        problem_text: object = f"it is nested more than {MAX_DEPTH} levels deep"
    except yaml.YAMLError as error:
        problem_text = marked_problem(error)
        way_out = parser_way_out(problem_text)
    except UnicodeDecodeError as error:
        problem_text = encoding_problem(error.object, error)
        way_out = "Save the YAML file as UTF-8; the encoding of the log is set by `encoding` in it"
    except FileNotFoundError:
        problem_text = "there is no such file"
        way_out = "Correct the path"
    except (OSError, ValueError, OverflowError) as error:
        problem_text = error
    raise ConfigError(f"Cannot read {yaml_path}", received=problem_text, way_out=way_out)


def _parse_yaml(yaml_text: str) -> Any:
    yaml_loader = yaml.SafeLoader(yaml_text)
    try:
        root_node = yaml_loader.get_single_node()
        if root_node is None:
            return None
        _NodeSizes().size(root_node, depth=1)
        return yaml_loader.construct_document(root_node)
    finally:
        yaml_loader.dispose()


class _NodeSizes:
    """Sizes of the nodes of a document; aliased nodes are measured once."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def size(self, node: yaml.Node, depth: int) -> int:
        """Number of nodes in a subtree with aliases expanded.

        Raises:
            ValueError: The subtree is too deep or too large, repeats a key, or contains itself.
        """
        node_id = id(node)
        if node_id in self._open:
            raise ValueError(f"an alias{_position(node)} contains itself")
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep{_position(node)}")
        if node_id not in self._sizes:
            self._open.add(node_id)
            _require_unique_keys(node)
            self._sizes[node_id] = 1 + sum(
                self.size(child_node, depth + 1) for child_node in _children(node)
            )
            self._open.remove(node_id)
        if self._sizes[node_id] > MAX_NODES:
            raise ValueError(
                f"its aliases expand to more than {MAX_NODES:,} values{_position(node)}"
            )
        return self._sizes[node_id]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key_value in node.value:
            yield from key_value


def _require_unique_keys(node: yaml.Node) -> None:
    """Check that mapping keys are unique; merge keys (``<<``) may occur several times."""
    if not isinstance(node, yaml.MappingNode):
        return
    known_keys: dict[tuple[str, str], int] = {}
    for key_node, _ in node.value:
        if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
            if (key_node.tag, key_node.value) in known_keys:
                raise ValueError(
                    f"key {shown_key(key_node.value)} is repeated{_position(key_node)}; it is "
                    f"first written in line {known_keys[key_node.tag, key_node.value]}"
                )
            known_keys[key_node.tag, key_node.value] = key_node.start_mark.line + 1


def _position(node: yaml.Node) -> str:
    return f" (line {node.start_mark.line + 1})"
