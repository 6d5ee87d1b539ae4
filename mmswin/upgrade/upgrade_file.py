"""The whole way from an old file to a new one, as the tool goes it."""

from pathlib import Path

from mmswin import atomic
from mmswin.errors import RunError
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
    target = None if new is None else Path(new)
    if target is not None:
        for what, other in (('old config', old), ('base', base)):
            if other and target.exists() and Path(other).exists() and target.samefile(other):
                raise RunError(f'{target} is the {what} itself; choose another name for the new one')
        if target.is_dir():
            raise RunError(f'{target} is a directory: name the file to write')
        if target.exists() and not overwrite:
            raise RunError(f'{target} exists; choose another name or add --overwrite')
        if not target.parent.is_dir():
            raise RunError(f'{target.parent} is no directory; make it first')
    upgraded = upgrade_config(old, pretrained)
    text, report = render(upgraded, base, target), upgraded.report
    messages = [f'note: {remark}' for remark in report.remarks]
    messages += [f'NOT TRANSLATED {entry}' for entry in report.untranslated]
    count = len(report.untranslated)
    left = f'{count} {"entry was" if count == 1 else "entries were"} not translated'
    if count and strict:
        return None, [*messages, f'{left}, so with --strict nothing was written'], False
    if target is not None:
        atomic.write(target, text)
    result = 'done' if target is None else f'{target} written'
    messages.append(f'{result}; {left}, see above' if count else f'{result}: all was translated')
    return text if target is None else None, messages, not count
