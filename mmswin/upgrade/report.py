"""What an upgrade did, and how it makes sure that nothing of the old configuration is lost without a word.

The old configuration is read by *taking* entries out of it (:class:`Section`). Whatever nobody took is named.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

_SHOWN_VALUE = 60


@dataclass(frozen=True)
class Untranslated:
    """An entry that has no counterpart here.

    Attributes:
        key: Dotted path in the old configuration, or in the new one where the fault was found there.
        value: What stands there.
        reason: Why it was not translated.
        remedy: What to do.
    """

    key: str
    value: Any
    reason: str
    remedy: str

    def __str__(self) -> str:
        shown = repr(self.value)
        if len(shown) > _SHOWN_VALUE:
            shown = f'{shown[: _SHOWN_VALUE - 4]} ...'
        return f'{self.key} = {shown}: {self.reason}; {self.remedy}'


@dataclass
class Report:
    """The lines that the tool prints and the new file carries in its head."""

    translated: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    untranslated: list[Untranslated] = field(default_factory=list)

    def done(self, what: str) -> None:
        """Note a translation, once."""
        if what not in self.translated:
            self.translated.append(what)

    def remark(self, what: str) -> None:
        """Note what a reader should know, once."""
        if what not in self.remarks:
            self.remarks.append(what)

    def failed(self, key: str, value: Any, reason: str, remedy: str) -> None:
        """Note what could not be translated, once for each key."""
        if all(entry.key != key for entry in self.untranslated):
            self.untranslated.append(Untranslated(key, value, reason, remedy))


class Section:
    """A dict of the old configuration, read by taking entries out.

    Args:
        values: The dict; a copy is made.
        path: Its dotted path, for messages.
        report: Where messages go.
    """

    def __init__(self, values: dict[str, Any] | None, path: str, report: Report) -> None:
        self._values = copy.deepcopy(dict(values or {}))
        self.path = path
        self.report = report

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def key(self, name: str) -> str:
        """The dotted path of an entry."""
        return f'{self.path}.{name}' if self.path else name

    def peek(self, key: str, default: Any = None) -> Any:
        """An entry, left in place."""
        return self._values.get(key, default)

    def take(self, key: str, default: Any = None) -> Any:
        """An entry, taken out."""
        return self._values.pop(key, default)

    def put(self, key: str, value: Any) -> None:
        """Add an entry that stood elsewhere."""
        self._values[key] = value

    def drop(self, *keys: str) -> None:
        """Take out entries that mean nothing any more."""
        for key in keys:
            self._values.pop(key, None)

    def section(self, key: str) -> 'Section':
        """A dict inside this one, taken out; empty if it is missing, None or no dict."""
        value = self.take(key)
        return Section(value if isinstance(value, dict) else None, self.key(key), self.report)

    def take_rest(self) -> dict[str, Any]:
        """All that is left, taken out."""
        rest, self._values = self._values, {}
        return rest

    def close(self, reason: str, remedy: str) -> None:
        """Name all that is left."""
        for key, value in self.take_rest().items():
            self.report.failed(self.key(key), value, reason, remedy)
