"""What /docs shows: the OpenAPI document as tables of parameters, bodies and answers. No HTTP and no HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

_MAX_ENUM: Final = 12
_TITLES: Final = {"read": "Read", "explain": "Explain", "write": "Write", "alerts": "Alerts", "operate": "Operate"}
_EXAMPLES: Final[dict[str, Any]] = {
    "post_run": {"run_id": "example-1", "pipeline": "example", "status": "completed", "steps": [
        {"name": "filter", "step_type": "filter", "input_count": 2, "rejection_counts": {"too_dear": 1},
         "sampled_rejections": [{"item_id": "a", "reason": "too_dear", "details": {"price": 150}}], "acceptances": [{"item_id": "b"}]}]},
    "post_mark": {"mark": "good", "note": "checked by hand"},
    "post_rule": {"name": "filter drops nearly all", "metric": "rejection_rate", "above": 0.95, "step": "filter"},
    "post_test": {"name": "filter drops nearly all", "metric": "rejection_rate", "above": 0.95, "step": "filter"},
    "put_rule": {"name": "filter drops nearly all", "metric": "rejection_rate", "above": 0.9, "step": "filter"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of an answer. `kind` and `default` in words."""

    name: str
    kind: str
    about: str
    place: str = ""
    required: bool = False
    default: str = ""
    choices: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its status, what it means, the name of its shape and its fields."""

    status: str
    about: str
    shape: str
    fields: Sequence[Field]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `body` is an example of what is sent, of type `body_type`; None where nothing is."""

    name: str
    method: str
    path: str
    about: str
    parameters: Sequence[Field]
    answers: Sequence[Answer]
    body: str | None
    body_type: str
    body_about: str

    @property
    def plain(self) -> bool:
        """Whether a form without a script can ask it."""
        return self.method == "GET" and not any(field.required for field in self.parameters)


def operations(document: Mapping[str, Any]) -> list[tuple[str, list[Operation]]]:
    """The operations of an OpenAPI document, by their kind."""
    schemas: Mapping[str, Any] = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[Operation]] = {tag: [] for tag in _TITLES}
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            tag = (about.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(method.upper(), path, about, schemas))
    return [(_TITLES.get(tag, tag), found) for tag, found in groups.items() if found]


def _operation(method: str, path: str, about: Mapping[str, Any], schemas: Mapping[str, Any]) -> Operation:
    name = about.get("operationId", "")
    body = about.get("requestBody")
    content: Mapping[str, Any] = (body or {}).get("content", {})
    body_type = "application/json" if "application/json" in content else next(iter(content), "")
    example = _EXAMPLES.get(name, {})
    return Operation(
        name,
        method,
        path,
        about.get("description") or about.get("summary", ""),
        [_parameter(each) for each in about.get("parameters", ())],
        [_answer(status, each, schemas) for status, each in about.get("responses", {}).items()],
        msgspec.json.format(msgspec.json.encode(example), indent=2).decode() if body else None,
        body_type,
        (body or {}).get("description", ""),
    )


def _parameter(parameter: Mapping[str, Any]) -> Field:
    schema = parameter.get("schema", {})
    default = schema.get("default")
    return Field(
        parameter["name"],
        kind({**schema, "anyOf": [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]}),
        parameter.get("description") or _about(schema),
        parameter["in"],
        bool(parameter.get("required")),
        "" if default is None else str(default),
        _choices(schema),
    )


def _answer(status: str, answer: Mapping[str, Any], schemas: Mapping[str, Any]) -> Answer:
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    shape = schema.get("$ref", "").rpartition("/")[2]
    known = schemas.get(shape, {})
    fields = [
        Field(name, kind(each), each.get("description", ""), required=name in known.get("required", ()))
        for name, each in known.get("properties", {}).items()
    ]
    return Answer(status, answer.get("description", ""), shape, fields if status.startswith("2") else ())


def kind(schema: Mapping[str, Any]) -> str:
    """The type that a schema says, in words, as in "integer from 1 to 1000", "list of StepRow", "string or null"."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    several = schema.get("anyOf") or schema.get("oneOf")
    if several:
        return " or ".join(dict.fromkeys(kind(each) for each in several))
    if "enum" in schema:
        return " | ".join(str(each) for each in schema["enum"][:_MAX_ENUM])
    name = str(schema.get("type") or "any")
    if name == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if name == "object":
        values = schema.get("additionalProperties")
        return f"object of {kind(values)}" if isinstance(values, Mapping) and values else "object"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{name} from {low:g} to {high:g}" if high < 10**9 else f"{name} from {low:g}"
    return f"{name} of up to {schema['maxLength']} characters" if schema.get("maxLength") else name


def _about(schema: Mapping[str, Any]) -> str:
    """The description of a schema, or of the first of its kinds that has one."""
    about = [each.get("description", "") for each in (schema, *schema.get("anyOf", ()))]
    return next(filter(None, about), "")


def _choices(schema: Mapping[str, Any]) -> Sequence[str]:
    for each in (schema, *schema.get("anyOf", ())):
        if "enum" in each:
            return [str(choice) for choice in each["enum"]]
    return ()
