"""The text form of a pipeline, after LLVM's `-passes=`.

pipeline := [element ("," element)*]
element  := name ["<" option (";" option)* ">"] ["(" pipeline ")"]
option   := name ["=" value]                     a bare name means true
value    := scalar | "[" [value ("," value)*] "]"
scalar   := word | "quoted text"                 numbers are words; \\" and \\\\ inside quotes
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pruna_ir.diagnostics import PrunaError, error

_WORD = re.compile(r"""[^\s,;<>()\[\]="]+""")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
PLACE = "-passes"
# Groups and lists may nest this deep.
_DEEPEST = 32


@dataclass(frozen=True)
class Scalar:
    """A word or quoted text; what it means is up to the option's type."""

    text: str
    span: tuple[int, int] = field(default=(0, 0), compare=False)

    def __str__(self) -> str:
        if _WORD.fullmatch(self.text):
            return self.text
        escaped = self.text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'


@dataclass(frozen=True)
class Listing:
    """A list of values."""

    items: tuple[Value, ...]
    span: tuple[int, int] = field(default=(0, 0), compare=False)

    def __str__(self) -> str:
        return f"[{','.join(map(str, self.items))}]"


Value = Scalar | Listing


@dataclass(frozen=True)
class Option:
    """`name=value`, or a bare name (value None)."""

    name: str
    value: Value | None
    span: tuple[int, int] = field(default=(0, 0), compare=False)

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


@dataclass(frozen=True)
class Element:
    """A pass by name with its options, and the nested pipeline of a group (None for a plain pass)."""

    name: str
    options: tuple[Option, ...] = ()
    body: tuple[Element, ...] | None = None
    span: tuple[int, int] = field(default=(0, 0), compare=False)

    def __str__(self) -> str:
        options = f"<{';'.join(map(str, self.options))}>" if self.options else ""
        body = f"({print_pipeline(self.body)})" if self.body is not None else ""
        return f"{self.name}{options}{body}"


def print_pipeline(elements: tuple[Element, ...]) -> str:
    """The canonical text: no spaces, quotes only where they are needed."""
    return ",".join(map(str, elements))


def parse_pipeline(text: str, place: str = PLACE) -> tuple[Element, ...]:
    """Parse pipeline text; raises P001 with the place of the first error."""
    return _Parser(text, place).whole()


def syntax_error(text: str, place: str, span: tuple[int, int], message: str, help: str = "") -> PrunaError:
    """A P001 diagnostic that points into the text."""
    return error("P001", message, place=f"{place}:1:{span[0] + 1}", source=text, span=span, help=help)


class _Parser:
    """Recursive descent; each method starts at `self.at` and leaves it behind what it read."""

    def __init__(self, text: str, place: str) -> None:
        self.text, self.place, self.at = text, place, 0
        self.depth = 0

    def whole(self) -> tuple[Element, ...]:
        self._space()
        elements = self._pipeline() if self.at < len(self.text) else ()
        if self.at < len(self.text):
            raise self._error(f"unexpected `{self.text[self.at]}`", "passes are separated by commas")
        return elements

    def _pipeline(self) -> tuple[Element, ...]:
        elements = [self._element()]
        while self._take(","):
            elements.append(self._element())
        return tuple(elements)

    def _element(self) -> Element:
        start, name = self.at, self._match(_NAME, "the name of a pass")
        span = (start, start + len(name))
        options: list[Option] = []
        if self._take("<"):
            options.append(self._option())
            while self._take(";"):
                options.append(self._option())
            self._expect(">", "options are closed by `>` and separated by `;`")
        body = None
        if self._take("("):
            self._enter()
            body = self._pipeline() if self._peek() != ")" else ()
            self._expect(")", "a group is closed by `)`")
            self.depth -= 1
        return Element(name, tuple(options), body, span)

    def _option(self) -> Option:
        start, name = self.at, self._match(_NAME, "the name of an option")
        value = self._value() if self._take("=") else None
        return Option(name, value, (start, start + len(name)))

    def _value(self) -> Value:
        start = self.at
        if self._take("["):
            self._enter()
            items: list[Value] = []
            if self._peek() != "]":
                items.append(self._value())
                while self._take(","):
                    items.append(self._value())
            self._expect("]", "a list is closed by `]`")
            self.depth -= 1
            return Listing(tuple(items), (start, self.at))
        quoted = _QUOTED.match(self.text, self.at)
        if quoted:
            self._advance(quoted.end())
            return Scalar(re.sub(r"\\(.)", r"\1", quoted[1]), (start, quoted.end()))
        word = self._match(_WORD, "a value")
        return Scalar(word, (start, start + len(word)))

    def _enter(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._error(f"nested deeper than {_DEEPEST} levels")

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self.text, self.at)
        if not found:
            raise self._error(f"expected {what}")
        self._advance(found.end())
        return found[0]

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, mark: str) -> bool:
        if self._peek() != mark:
            return False
        self._advance(self.at + 1)
        return True

    def _expect(self, mark: str, help: str) -> None:
        if not self._take(mark):
            raise self._error(f"expected `{mark}`", help)

    def _advance(self, to: int) -> None:
        self.at = to
        self._space()

    def _space(self) -> None:
        while self._peek().isspace():
            self.at += 1

    def _error(self, message: str, help: str = "") -> PrunaError:
        return syntax_error(self.text, self.place, (self.at, self.at + 1), message, help)
