"""The whole way from an old file to a new one, as the tool goes it."""

from pathlib import Path

from mmswin import atomic
from mmswin.errors import RunError
from mmswin.upgrade.findings import Report
from mmswin.upgrade.translate import render, upgrade_config


def upgrade_file(
    old: str,
    new: str | None = None,
    base: str | None = None,
    pretrained: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> tuple[str | None, list[str], bool]:
    """Upgrade a file and write the result to ``new``, or return it; the arguments are those of the tool.

    Returns:
        The text if it was not written, messages for the user, and whether all was translated.

    Raises:
        RunError: The input cannot be used, or ``new`` exists.
    """
    target = Path(new) if new is not None else None
    if target is not None:
        _check_target(target, Path(old), overwrite)
    upgraded = upgrade_config(old, pretrained)
    text = render(upgraded, base, target)
    complete = not upgraded.report.untranslated
    written = complete or not strict
    if target is not None and written:
        atomic.write(target, text)
    return text if target is None and written else None, _messages(upgraded.report, target, written), complete


def _check_target(target: Path, old: Path, overwrite: bool) -> None:
    if target.exists() and old.exists() and target.samefile(old):
        raise RunError(f'{target} is the old config itself; choose another name for the new one')
    if target.exists() and not overwrite:
        raise RunError(f'{target} exists; choose another name or add --overwrite')
    if not target.parent.is_dir():
        raise RunError(f'{target.parent} is no directory; make it first')


def _messages(report: Report, target: Path | None, written: bool) -> list[str]:
    lines = [f'note: {remark}' for remark in report.remarks]
    lines += [f'NOT TRANSLATED {entry}' for entry in report.untranslated]
    count = len(report.untranslated)
    left = f'{count} {"entry was" if count == 1 else "entries were"} not translated'
    if not written:
        return [*lines, f'{left}, so with --strict nothing was written']
    result = f'{target} written' if target is not None else 'done'
    return [*lines, f'{result}: all was translated' if not count else f'{result}; {left}, see above']
