"""The generators of toy data as a user calls them."""

import pytest

from mmswin.data.miniature import MiniatureSettings, is_complete


@pytest.mark.parametrize(('name', 'kind'), [('coco', 'COCO'), ('ade', 'ADE20K')])
def test_the_tool(name: str, kind: str, workplace) -> None:
    tool = f'make_miniature_{name}.py'
    options = ('mini', '--train', 2, '--val', 1, '--size', 48, '--seed', 5, '--classes', 'star,hexagon', 'circle')
    made = workplace.call(tool, *options)
    assert made.status == 0, made.output
    assert '3/3 images' in made.output
    settings = MiniatureSettings(2, 1, 48, 5, ('star', 'hexagon', 'circle'))
    assert is_complete(workplace.directory / 'mini', settings, kind)
    again = workplace.call(tool, *options)
    assert again.status == 1 and again.output.startswith('error: ') and '--force' in again.output
    assert workplace.call(tool, *options, '--force').status == 0
