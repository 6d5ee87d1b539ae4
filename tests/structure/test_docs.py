"""README and the pages of docs/: size, links, headings that links name."""

import re
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
