"""An exception in words: its message, its notes, its causes, where it was raised. Runs none of the user's code.

`str()` of an exception is its class's code. It is called where that class is Python's own and all it can reach is plain (`OSError`,
`KeyError`, `subprocess.CalledProcessError`, and the user's subclasses that leave `__str__` alone). Of the others the message is
read from what they were made with.
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, TracebackType
from typing import Any, Final, NamedTuple

from xray_core.objects.structure import instance_fields, type_name
from xray_core.safety import reraise_interrupt

MAX_NOTES: Final = 10
MAX_CAUSES: Final = 5
MAX_MEMBERS: Final = 10  # of a group
MAX_FRAMES: Final = 20
_MAX_WALKED: Final = 5_000
_MAX_ARGUMENTS: Final = 5
_MAX_VALIDATION_ERRORS: Final = 10
_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes, complex})
_OURS: Final = frozenset({"xray_core", "xray_prefect", "xray_airflow", "xray_dagster"})
_PYDANTIC_1: Final = ("pydantic.error_wrappers.ValidationError", "pydantic.v1.error_wrappers.ValidationError")
_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"

Show = Callable[[Any], str]
"""How a value is written that is no text: bounded, and without the user's code."""


def message_of(error: BaseException, show: Show) -> str:
    """What `print(error)` would say, as far as that takes none of the user's code; then the exception's notes."""
    return "\n".join([_own_message(error, show), *_notes(error)])


def traceback_of(error: BaseException, trace: TracebackType | None, show: Show, *, max_chars: int) -> str:
    """Where it was raised, the most recent call last, after where its causes were, as far as they fit; then the members of a group.

    It begins with the user's first frame: what a framework did before it called the user's code is left out.
    """
    text = _frames_text(trace if trace is not None else error.__traceback__)
    text += "".join(_members_text(error, show))
    for cause, link in _causes(error):
        before = f"{_frames_text(_attribute(cause, '__traceback__'))}{_headline(cause, show)}\n{link}"
        if len(before) + len(text) > max_chars:
            break
        text = before + text
    return text


# ---------------------------------------------------------------------------------- messages


def _own_message(error: BaseException, show: Show) -> str:
    try:
        members = _members(error)
        if members:
            text = _attribute(error, "args")[0] if _attribute(error, "args") else ""
            several = "" if len(members) == 1 else "s"
            return f"{text if type(text) is str else show(text)} ({len(members)} sub-exception{several})"
        if type_name(type(error)) == "pydantic_core._pydantic_core.ValidationError":
            return _validation_message(error)
        if type_name(type(error)) in _PYDANTIC_1:
            return "; ".join(_wrapped(each, show) for each in error.raw_errors[:_MAX_VALIDATION_ERRORS])  # type: ignore[attr-defined]  # by its name
        if _is_safe_to_print(error):
            return str(error)
    except Exception as problem:  # noqa: BLE001  # an int of 10,000 digits, a half-made exception: what it was made with still tells
        reraise_interrupt(problem)
    return _arguments(error, show)


def _arguments(error: BaseException, show: Show) -> str:
    """What it was made with; else what it holds."""
    arguments = _attribute(error, "args")
    if arguments:
        return ", ".join(each if type(each) is str else show(each) for each in arguments[:_MAX_ARGUMENTS])
    held = {name: each for name, each in instance_fields(error).items() if not name.startswith("_")}
    return show(held) if held else ""


def _is_safe_to_print(error: BaseException) -> bool:
    kind = type(error)
    owner = next(base for base in kind.__mro__ if "__str__" in base.__dict__)
    if not _is_pythons_own(owner):
        return False
    if not all(map(_is_plain, _attribute(error, "args"))):
        return False
    if type(owner.__dict__["__str__"]) is types.WrapperDescriptorType:
        return all(map(_is_plain, _slots(error)))  # in C: reads its own fields, whatever a subclass says
    return _is_pythons_own(kind) and all(map(_is_plain, instance_fields(error).values()))


def _slots(error: BaseException) -> Iterator[Any]:
    """The fields that exceptions in C hold beside `args`: `OSError.filename`, `SyntaxError.msg`, ..."""
    for base in type(error).__mro__:
        if base.__module__ == "builtins":
            for each in base.__dict__.values():
                if type(each) is types.MemberDescriptorType:
                    yield each.__get__(error)


def _is_pythons_own(kind: type) -> bool:
    """Whether a class is the one that Python's own library has under its name."""
    module = type.__dict__["__module__"].__get__(kind)
    if not isinstance(module, str) or module.partition(".")[0] not in sys.stdlib_module_names | {"builtins"}:
        return False
    return vars(sys.modules.get(module, types)).get(kind.__name__) is kind


def _is_plain(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if kind is tuple or kind is list:
        return depth < 2 and len(value) <= 100 and all(_is_plain(each, depth + 1) for each in value)
    return kind in _PLAIN or kind is type or kind.__module__.startswith("pathlib")


def _notes(error: BaseException) -> list[str]:
    notes = instance_fields(error).get("__notes__")
    return [each for each in notes[:MAX_NOTES] if type(each) is str] if type(notes) is list else []


def _validation_message(error: Any) -> str:
    """Pydantic's words without the values: those are the user's objects, and may be secrets."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    said = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in errors[:_MAX_VALIDATION_ERRORS]]
    several = "" if len(errors) == 1 else "s"
    return f"{len(errors)} validation error{several} for {error.title}: {'; '.join(said)}"


def _wrapped(wrapper: Any, show: Show) -> str:
    if not type_name(type(wrapper)).endswith("error_wrappers.ErrorWrapper"):
        return show(wrapper)
    where, inner = wrapper._loc, wrapper.exc
    said = _headline(inner, show) if isinstance(inner, BaseException) else show(inner)
    return f"{where}: {said}" if type(where) is str else said


def _headline(error: BaseException, show: Show) -> str:
    message = message_of(error, show)
    return f"{type_name(type(error))}: {message}" if message else type_name(type(error))


# ---------------------------------------------------------------------------------- causes, groups, frames


def _attribute(error: BaseException, name: str) -> Any:
    """A field of every exception, past whatever a subclass puts in its place."""
    return BaseException.__dict__[name].__get__(error)


def _causes(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    seen = {id(error)}
    for _ in range(MAX_CAUSES):
        cause, link = _attribute(error, "__cause__"), _CAUSED
        if cause is None and not _attribute(error, "__suppress_context__"):
            cause, link = _attribute(error, "__context__"), _DURING
        if cause is None or id(cause) in seen:
            return
        seen.add(id(cause))
        yield cause, link
        error = cause


def _members(error: BaseException) -> list[BaseException]:
    """The exceptions of a group: Python's own since 3.11, or the backport's."""
    for base in type(error).__mro__:
        if base.__name__ == "BaseExceptionGroup" and base.__module__ in (
            "builtins",
            "exceptiongroup",
            "exceptiongroup._exceptions",
        ):
            found = instance_fields(error).get("_exceptions")
            if found is None and type(base.__dict__.get("exceptions")) is types.MemberDescriptorType:
                found = base.__dict__["exceptions"].__get__(error)
            return [each for each in found or () if isinstance(each, BaseException)]
    return []


def _members_text(error: BaseException, show: Show) -> Iterator[str]:
    members = _members(error)
    for n, member in enumerate(members[:MAX_MEMBERS], 1):
        frames = _frames_text(_attribute(member, "__traceback__"))
        text = f"{frames}{_headline(member, show)}"
        yield f"  + {n} of {len(members)}:\n" + "".join(f"  | {line}\n" for line in text.splitlines())


class _Frame(NamedTuple):
    code: CodeType
    line: int
    is_users: bool


def _frames_text(trace: TracebackType | None) -> str:
    frames: list[_Frame] = []
    while trace is not None and len(frames) < _MAX_WALKED:
        code = trace.tb_frame.f_code
        frames.append(_Frame(code, trace.tb_lineno, _is_users(code.co_filename, trace.tb_frame.f_globals)))
        trace = trace.tb_next
    users = [n for n, frame in enumerate(frames) if frame.is_users]
    if users:
        frames = frames[users[0] :]
    if len(frames) <= MAX_FRAMES:
        return "".join(map(_frame_text, frames))
    # the beginning, the last of the user's own, and the end
    last_users = users[-1] - users[0] if users else 0
    head, tail = frames[:2], frames[3 - MAX_FRAMES :]
    kept = [frames[last_users]] if 2 <= last_users < len(frames) - len(tail) else []
    left_out = f"  ... {len(frames) - len(head) - len(tail) - len(kept)} calls between\n"
    return "".join([*map(_frame_text, head), left_out, *map(_frame_text, kept + tail)])


def _frame_text(frame: _Frame) -> str:
    # without the module's globals, whose loader may be the user's
    source = linecache.getline(frame.code.co_filename, frame.line).strip()
    where = f'  File "{frame.code.co_filename}", line {frame.line}, in {frame.code.co_name}\n'
    return f"{where}    {source}\n" if source else where


def _is_users(filename: str, module_globals: dict[str, Any]) -> bool:
    name = dict.get(module_globals, "__name__")
    if type(name) is str and name.partition(".")[0] in _OURS:
        return False
    libraries = ("site-packages", "dist-packages")
    return not filename.startswith(_library_paths()) and not any(each in filename for each in libraries)


@lru_cache(maxsize=1)
def _library_paths() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return ("<frozen", *{paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths})
