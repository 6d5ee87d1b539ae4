"""README and the pages of docs/: size, links, headings that links name."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'CHANGELOG.md', *sorted((ROOT / 'docs').glob('*.md'))]


def _anchor(heading: str) -> str:
    return re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text(encoding='utf-8')):
        if '://' in link:
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r'^#+ (.*)$', target.read_text(encoding='utf-8'), re.MULTILINE)
            assert anchor in map(_anchor, headings), link


def test_the_readme_is_short():
    assert (ROOT / 'README.md').stat().st_size <= 8_192


def test_llms_txt_lists_every_page():
    listed = set(re.findall(r'\]\((\S+\.md)\)', (ROOT / 'docs' / 'llms.txt').read_text(encoding='utf-8')))
    assert listed == {page.name for page in (ROOT / 'docs').glob('*.md')} - {'index.md'}


# Commands that no test runs, by their first word: why.
NOT_RUN = {
    'pip': 'changes the environment',
    'source': 'changes the shell',
    'cp': "is the shell's",
    'git': 'fetches a data set',
    'mim': 'wants older versions of libraries than the environment has',
    'export': 'changes the shell',
}


def _commands():
    for page in PAGES:
        for block in re.findall(r'^```bash\n(.*?)^```', page.read_text(encoding='utf-8'), re.MULTILINE | re.DOTALL):
            for line in block.replace('\\\n', ' ').splitlines():
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r'[A-Z_]+=.*', words[0]):
                    words.pop(0)
                if words:
                    yield pytest.param(words, id=f'{page.stem}: {" ".join(words)[:60]}')


@pytest.mark.parametrize('words', [*_commands()])
def test_commands_are_as_they_say(words):
    """They exist and their options parse; that they do what they say is for tests/e2e."""
    if words[0] in NOT_RUN or words[:2] == ['python', '-c']:
        return
    if words[0] == 'make':
        assert re.search(rf'^{words[1]}:', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.MULTILINE)
        return
    if words[:2] == ['python', '-m'] or words[0] == 'torchrun':
        words = words[words.index('-m') + 1 :]
    command = None
    if words[0] == 'mmswin':
        command, *words = words[1:]
    elif words[0] in ('python', 'bash'):
        file = ROOT / words[1]
        assert file.is_file()
        shim = re.search(r'from mmswin\.cli\.(\w+) import main', file.read_text(encoding='utf-8'))
        command, words = shim and shim.group(1), words[2:]
    else:
        pytest.fail(f'{words[0]} is neither a command of this project nor in NOT_RUN')
    if command:
        importlib.import_module(f'mmswin.cli.{command}').parse_args(words)
