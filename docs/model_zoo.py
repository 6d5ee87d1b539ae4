"""Write the tables of the model zoo, and metafile.yml: python docs/model_zoo.py [--check]; `make docs` does it.

They are made from the file of tables and from what the configurations count.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

import metafile as metafiles
from mmswin.analysis.paper import ACCURACIES, Comparison, Table, compare, load_tables
from mmswin.errors import RunError, run_tool

ROOT = Path(__file__).resolve().parents[1]

BEGIN = '<!-- tables: made by `make docs` from configs/paper_tables.yaml, do not edit -->'
END = '<!-- end of tables -->'

# AP50 and AP75 are in the file of tables alone.
_SHOWN = ('top1', 'top5', 'box_ap', 'mask_ap', 'miou', 'miou_tta')


def render(
    tables: Sequence[Table], comparisons: Sequence[Comparison], directory: str | Path, document: str | Path
) -> str:
    """The tables in Markdown.

    Args:
        tables: All tables.
        comparisons: One for each of their rows.
        directory: The directory of the configurations.
        document: The file the tables are for; links are relative to it.
    """
    directory = Path(directory)
    links = Path(os.path.relpath(directory, Path(document).parent)).as_posix()
    blocks = [_block(table, [one for one in comparisons if one.row.table == table.name], links) for table in tables]
    blocks.append(_others({one.row.config for one in comparisons}, directory, links))
    return '\n\n'.join(block for block in blocks if block)


def _block(table: Table, comparisons: Sequence[Comparison], links: str) -> str:
    """One table with its title and, below it, what is to be said of single rows."""
    shown = [name for name in _SHOWN if any(name in one.row.accuracy for one in comparisons)]
    heads = ['method', 'backbone', 'configuration', *map(ACCURACIES.get, shown), 'params M', 'FLOPs G', 'reproduced']
    lines = [heads, ['---'] * len(heads)]
    notes: dict[str, int] = {}
    for one in comparisons:
        row = one.row
        marks = ''.join(f'<sup>{notes.setdefault(note, len(notes) + 1)}</sup>' for note in _notes(one))
        link = (_link(row.config, links) if row.config else 'none') + marks
        accuracy = [_percentage(row.accuracy.get(name)) for name in shown]
        costs = [_pair(row.params, one.params), _pair(row.flops, one.flops)]
        lines.append([row.method, row.backbone, link, *accuracy, *costs, 'yes' if row.reproduced else 'no'])
    text = [f'**{table.title}** ({table.source})', '', *map(_line, lines)]
    if notes:
        text += ['', *(f'<sup>{number}</sup> {note}.<br>' for note, number in notes.items())]
        text[-1] = text[-1].removesuffix('<br>')
    return '\n'.join(text)


def _line(cells: Sequence[str]) -> str:
    return '|' + '|'.join(f' {cell} ' if cell else ' ' for cell in cells) + '|'


def _notes(one: Comparison) -> Iterable[str]:
    if one.row.why_none:
        yield one.row.why_none
    for name, reason in one.row.known.items():
        yield f'{dict(params="Parameters", flops="FLOPs")[name]}: {reason}'
    if one.row.note:
        yield one.row.note


def _link(config: str, links: str) -> str:
    return f'[{config}]({links}/{config}.py)'


def _percentage(value: float | None) -> str:
    """With one place as AP, or two as mIoU, whichever was published."""
    return '' if value is None else f'{value:.1f}' if round(value, 1) == value else f'{value:.2f}'


def _pair(published: float | None, counted: float | None) -> str:
    """``86 (85.6)``: published, and counted in brackets."""
    digits = 1 if counted is None or counted >= 0.1 else 2
    parts = ['' if published is None else f'{published:g}', '' if counted is None else f'({counted:.{digits}f})']
    return ' '.join(filter(None, parts))


def _others(listed: set[str | None], directory: Path, links: str) -> str:
    """Configurations without a published result, each with the first sentence of its leading comment."""
    lines = [
        f'| {_link(path.stem, links)} | {first_sentence(path)} |'
        for path in sorted(directory.glob('*.py'))
        if path.stem not in listed
    ]
    if not lines:
        return ''
    return '\n'.join(['**More configurations**', '', '| configuration | |', '|---|---|', *lines])


def first_sentence(path: Path) -> str:
    """The first sentence of the comment that a configuration starts with, without its full stop."""
    lines = takewhile(lambda line: line.startswith('#'), path.read_text(encoding='utf-8').splitlines())
    return ' '.join(line.lstrip('# ') for line in lines).split('. ')[0].rstrip('.')


def replace_tables(text: str, tables: str) -> str:
    """Put the tables between the two markers of a document.

    Raises:
        RunError: A marker is missing, or there are several.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise RunError(f'the document needs the line {BEGIN} and after it the line {END}, each once')
    before, rest = text.split(BEGIN)
    return f'{before}{BEGIN}\n\n{tables}\n\n{END}{rest.split(END)[1]}'


def update(document: str | Path, tables_file: str | Path, check: bool = False) -> bool:
    """Bring a document's tables up to date, and ``metafile.yml`` next to the file of tables.

    Args:
        document: The Markdown file.
        tables_file: The file of tables.
        check: Change nothing.

    Returns:
        Whether both were up to date.

    Raises:
        RunError: A file cannot be read, or the markers are missing.
    """
    document, directory = Path(document), Path(tables_file).resolve().parent
    if not document.is_file():
        raise RunError(f'{document} does not exist')
    replace_tables(document.read_text(encoding='utf-8'), '')
    tables = load_tables(tables_file)
    rows = [row for table in tables for row in table.rows]
    comparisons = compare(rows, directory)
    rendered = render(tables, comparisons, directory, document)
    # Read again: counting takes a while, and somebody may be writing.
    text = document.read_text(encoding='utf-8')
    files = {document: replace_tables(text, rendered), directory / 'metafile.yml': metafiles.render(rows)}
    old = [path for path in files if not path.is_file() or path.read_text(encoding='utf-8') != files[path]]
    for path in old if not check else ():
        path.write_text(files[path], encoding='utf-8')
    return not old


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Write the tables of the model zoo again, and metafile.yml.')
    parser.add_argument('document', nargs='?', default=ROOT / 'docs' / 'model-zoo.md', help='default docs/model-zoo.md')
    parser.add_argument('--tables', default=ROOT / 'configs' / 'paper_tables.yaml', help='the file of tables')
    parser.add_argument('--check', action='store_true', help='write nothing; exit status 1 unless all is current')
    args = parser.parse_args(argv)

    def work() -> int:
        current = update(args.document, args.tables, args.check)
        if args.check and not current:
            print(f'{args.document}: the tables are not current; run make docs')
            return 1
        print(f'{args.document}: the tables {"were" if current else "are now"} current')
        return 0

    return run_tool(work)


if __name__ == '__main__':
    sys.exit(main())
