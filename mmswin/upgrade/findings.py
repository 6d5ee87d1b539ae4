"""What an upgrade did, and how it makes sure that nothing of the old configuration is lost without a word.

The old configuration is read by *taking* entries out of it (:class:`Section`). Whatever nobody took is named.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

_SHOWN_VALUE = 60


@dataclass(frozen=True)
class Untranslated:
    """An entry that has no counterpart here: its path in the old or the new configuration, and what to do about it."""

    key: str
    value: Any
    why: str

    def __str__(self) -> str:
        shown = repr(self.value)
        shown = shown if len(shown) <= _SHOWN_VALUE else f'{shown[: _SHOWN_VALUE - 4]} ...'
        return f'{self.key} = {shown}: {self.why}'


@dataclass
class Report:
    """The lines that the tool prints and the new file carries in its head, each once."""

    translated: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    untranslated: list[Untranslated] = field(default_factory=list)

    def done(self, what: str) -> None:
        """Note a translation."""
        self.translated += [what] if what not in self.translated else []

    def remark(self, what: str) -> None:
        """Note what a reader should know."""
        self.remarks += [what] if what not in self.remarks else []

    def failed(self, key: str, value: Any, why: str) -> None:
        """Note what could not be translated, once for each key."""
        if all(entry.key != key for entry in self.untranslated):
            self.untranslated.append(Untranslated(key, value, why))


class Section(dict):
    """A dict of the old configuration (a copy of it), read by taking entries out; ``path`` is its own, for messages."""

    def __init__(self, values: dict[str, Any] | None, path: str, report: Report) -> None:
        super().__init__(copy.deepcopy(values or {}))
        self.path = path
        self.report = report

    def key(self, name: str) -> str:
        """The dotted path of an entry."""
        return f'{self.path}.{name}' if self.path else name

    def take(self, key: str, default: Any = None) -> Any:
        """An entry, taken out."""
        return self.pop(key, default)

    def drop(self, *keys: str) -> None:
        """Take out entries that mean nothing any more."""
        for key in keys:
            self.pop(key, None)

    def section(self, key: str) -> 'Section':
        """A dict inside this one, taken out; empty if it is missing, None or no dict."""
        value = self.take(key)
        return Section(value if isinstance(value, dict) else None, self.key(key), self.report)

    def fail(self, name: str, why: str) -> None:
        """Take an entry out and name it as not translated."""
        self.report.failed(self.key(name), self.take(name), why)

    def rename_storage(self) -> None:
        """``file_client_args`` became ``backend_args``; a disk needs none."""
        client = self.take('file_client_args')
        if client and client.get('backend', 'disk') != 'disk':
            self['backend_args'] = client
            self.report.done('file_client_args -> backend_args')

    def close(self, why: str) -> None:
        """Name all that is left."""
        for key in list(self):
            self.fail(key, why)
