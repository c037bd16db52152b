"""Reference pages that are generated from the code: command line, HTTP API, settings, errors."""

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import mkdocs_gen_files
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from chronotope.cli.main import app
from chronotope.contracts import errors
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback.config import FeedbackConfig
from chronotope.monitoring.config import MonitorConfig
from chronotope.pipelines.settings import TrainSettings
from chronotope.scoring.config import ScoringConfig
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from flows.ingest_events import IngestSettings


def cell(text: object) -> str:
    """Text for a cell of a Markdown table, on one line."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def write(page: str, lines: list[str]) -> None:
    """Write a generated page of the reference."""
    with mkdocs_gen_files.open(f"reference/{page}.md", "w") as file:
        file.write("\n".join(lines) + "\n")


# --- command line ------------------------------------------------------------------------


def command_lines(name: str, command: Any) -> Iterator[str]:
    """Section of one command: its help and a table of its parameters."""
    yield f"## `chronotope {name}`\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    parameters = [p for p in command.params if not getattr(p, "hidden", False)]
    if not parameters:
        return
    yield "| parameter | default | meaning |\n|---|---|---|"
    for parameter in parameters:
        is_option = parameter.param_type_name == "option"
        label = ", ".join(parameter.opts) if is_option else str(parameter.name).upper()
        default = (
            "" if parameter.default is None or callable(parameter.default) else parameter.default
        )
        required = "required" if parameter.required else cell(default)
        yield f"| `{label}` | {required} | {cell(getattr(parameter, 'help', '') or '')} |"
    yield ""


def command_line_page() -> list[str]:
    """Every command with its parameters."""
    group: Any = typer.main.get_command(app)
    lines = [
        "# Command line\n",
        "Generated from the commands themselves; `--help` shows the same.\n",
    ]
    for name in sorted(group.commands):
        lines += command_lines(name, group.commands[name])
    return lines


# --- pydantic models ---------------------------------------------------------------------


def nested_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models that an annotation names, at any depth."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from nested_models(argument)


def type_name(annotation: Any) -> str:
    """Readable type of a field."""
    if inspect.isclass(annotation):
        if issubclass(annotation, Enum):
            return " or ".join(f"`{member.value}`" for member in annotation)
        return "none" if annotation is NoneType else f"`{annotation.__name__}`"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(type_name(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is Annotated:
        return type_name(arguments[0])
    plain_name = re.sub(r"[a-z_.]+[.](?=[A-Z])", "", str(annotation))  # without module paths
    return f"`{cell(plain_name)}`"


def default_text(field: Any) -> str:
    """Default of a field."""
    if field.is_required():
        return "required"
    default = field.default_factory() if field.default_factory else field.default
    if default is PydanticUndefined or isinstance(default, BaseModel):
        return ""
    return f"`{cell(default)}`"


def model_lines(model: type[BaseModel], seen: set[type[BaseModel]]) -> list[str]:
    """Section of one model, followed by those of the models in its fields."""
    if model in seen:
        return []
    seen.add(model)
    lines = [
        f"### {model.__name__}\n",
        inspect.cleandoc(model.__doc__ or "").split("\n\n")[0] + "\n",
    ]
    lines.append("| field | type | default | meaning |\n|---|---|---|---|")
    inner: list[type[BaseModel]] = []
    for name, field in model.model_fields.items():
        meaning = cell(field.description or "")
        kind, default = type_name(field.annotation), default_text(field)
        lines.append(f"| `{field.alias or name}` | {kind} | {default} | {meaning} |")
        inner += nested_models(field.annotation)
    lines.append("")
    for other in inner:
        lines += model_lines(other, seen)
    return lines


def settings_page() -> list[str]:
    """Settings of flows and service."""
    parts = {
        "Training (`train-model`, `chronotope train --config`)": TrainSettings,
        "Ingestion (`ingest-events`)": IngestSettings,
        "Feedback (`collect-feedback`)": FeedbackConfig,
        "Monitoring (`monitor-drift`)": MonitorConfig,
        "Batch predictions (`score-users`)": ScoringConfig,
        "Service (`chronotope serve`)": ServeSettings,
    }
    lines = ["# Settings\n", "Generated from the models that the forms of the Prefect UI show.\n"]
    seen: set[type[BaseModel]] = set()
    for title, model in parts.items():
        lines += [f"## {title}\n", *model_lines(model, seen)]
    return lines


def dataset_page() -> list[str]:
    """Keys of a dataset's YAML."""
    head = [
        "# Dataset YAML\n",
        "One file a dataset in `conf/datasets/`; unknown keys are refused.\n",
    ]
    return head + model_lines(DatasetSpec, set())


# --- HTTP API ----------------------------------------------------------------------------


def http_page() -> list[str]:
    """Every endpoint with its fields, from the OpenAPI document of the service."""
    with TemporaryDirectory() as root:
        document = create_app(ServeSettings(dataset="example", root=Path(root))).openapi()
    lines = [
        "# HTTP API\n",
        "Generated from `/openapi.json`; `/docs` of a running service tries it out.\n",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += endpoint_lines(f"{method.upper()} {path}", operation)
    lines.append("## Schemas\n")
    for name, schema in document["components"]["schemas"].items():
        lines += schema_lines(name, schema)
    return lines


def endpoint_lines(title: str, operation: dict[str, Any]) -> list[str]:
    """Section of one endpoint."""
    lines = [f"## `{title}`\n", operation.get("description", operation.get("summary", "")) + "\n"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "$ref" in body.get("schema", {}):
        lines.append(f"Request body: `{body['schema']['$ref'].rpartition('/')[2]}`\n")
    rows = [
        f"| `{parameter['name']}` | {cell(parameter.get('description', ''))} |"
        for parameter in operation.get("parameters", ())
    ]
    return [*lines, *(["| parameter | meaning |\n|---|---|", *rows, ""] if rows else [])]


def schema_lines(name: str, schema: dict[str, Any]) -> list[str]:
    """Fields of one schema."""
    rows = [
        f"| `{field}` | {cell(about.get('type', ''))} | {cell(about.get('description', ''))} |"
        for field, about in schema.get("properties", {}).items()
    ]
    if not rows:
        return []
    return [f"### {name}\n", "| field | type | meaning |\n|---|---|---|", *rows, ""]


def error_page() -> list[str]:
    """The tree of errors."""
    tree = inspect.cleandoc(errors.__doc__ or "")
    return ["# Errors\n", "```text", tree, "```\n", "::: chronotope.contracts.errors"]


write("cli", command_line_page())
write("settings", settings_page())
write("dataset-yaml", dataset_page())
write("http-api", http_page())
write("errors", error_page())
