"""Strict reading of a YAML mapping: every key is known, every value has its type, every complaint names its line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruna_ir.diagnostics import PrunaError, did_you_mean, error

KeyPath = tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """A parsed YAML file: its top mapping, and the line (from 1) on which each key stands."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    @staticmethod
    def read(path: Path) -> Document:
        """Parse the file; D001 when it cannot be read or is not YAML, D002 when it is not a mapping."""
        import yaml

        try:
            text = path.read_text(encoding="utf-8")
            values = yaml.safe_load(text)
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError) as failure:
            raise error("D001", f"cannot read the dataset description: {failure}", place=path) from failure
        except yaml.YAMLError as failure:
            mark = getattr(failure, "problem_mark", None)
            place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
            problem = getattr(failure, "problem", None) or "syntax error"
            raise error("D001", f"the dataset description is not YAML: {problem}", place=place) from failure
        if not isinstance(values, dict):
            raise error("D002", "the dataset description must be a mapping of keys to values", place=path)
        return Document(path, values, dict(_lines(root, ())))

    def top(self) -> Section:
        """The whole document as a section."""
        return Section(self, (), self.values)


def _lines(node: Any, prefix: KeyPath) -> Iterable[tuple[KeyPath, int]]:
    """The line of each key of the nested mappings below a composed YAML node."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*prefix, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _lines(value, path)


@dataclass(frozen=True)
class Section:
    """One mapping of the document, read key by key; `done` then refuses the keys that nobody asked for."""

    document: Document
    at: KeyPath
    values: Mapping[str, Any]
    asked: set[str] = field(default_factory=set)

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def place(self, key: str = "") -> str:
        """`file:line` of a key, or of the section itself."""
        line = self.document.lines.get((*self.at, key) if key else self.at)
        return f"{self.document.path}:{line}" if line else str(self.document.path)

    def fault(self, key: str, message: str, help: str = "") -> PrunaError:
        """The D002 diagnostic about one key's value."""
        return error("D002", message, place=self.place(key), help=help)

    def section(self, key: str) -> Section | None:
        """A nested mapping, or None where the key is absent."""
        value = self._get(key, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.fault(key, f"`{key}` must be a mapping, such as `{key}: {{…}}`")
        return Section(self.document, (*self.at, key), value)

    def text(self, key: str, default: str | None = None, *, choices: Collection[str] = ()) -> str | None:
        """A word; with `choices`, one of them."""
        value = self._get(key, default)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.fault(key, f"`{key}` must be a text, not `{value}`")
        if choices and value not in choices:
            raise self.fault(key, f"`{key}` cannot be `{value}`", did_you_mean(value, choices, "value"))
        return value

    def number(self, key: str, default: float) -> float:
        """A finite number."""
        value = self._get(key, default)
        if not _is_number(value):
            raise self.fault(key, f"`{key}` must be a number, not `{value}`")
        return float(value)

    def integer(self, key: str, default: int) -> int:
        """A whole number."""
        value = self.number(key, default)
        if value != int(value):
            raise self.fault(key, f"`{key}` must be a whole number, not `{value}`")
        return int(value)

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """A list of finite numbers (a single number is a list of one), or None where the key is absent."""
        value = self._get(key, None)
        if value is None:
            return None
        entries = value if isinstance(value, list) else [value]
        if not entries or not all(_is_number(entry) for entry in entries):
            raise self.fault(key, f"`{key}` must be a list of numbers, not `{value}`")
        return tuple(float(entry) for entry in entries)

    def texts(self, key: str) -> dict[str, str] | None:
        """A mapping of words to words, or None where the key is absent."""
        value = self._get(key, None)
        if value is None:
            return None
        if not isinstance(value, dict) or not value or not all(isinstance(entry, str) for entry in value.values()):
            raise self.fault(key, f"`{key}` must map names to names, not `{value}`")
        return {str(name): entry for name, entry in value.items()}

    def required(self, key: str) -> PrunaError:
        """The D002 diagnostic for a key that must be there."""
        return error("D002", f"the key `{key}` is missing", place=self.place())

    def done(self) -> None:
        """Refuse unknown keys (D002)."""
        for key in self.values:
            if key not in self.asked:
                where = f" in `{'.'.join(self.at)}`" if self.at else ""
                help_text = did_you_mean(str(key), self.asked, "key")
                raise error("D002", f"unknown key `{key}`{where}", place=self.place(str(key)), help=help_text)

    def _get(self, key: str, default: Any) -> Any:
        self.asked.add(key)
        value = self.values.get(key)
        return default if value is None else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
