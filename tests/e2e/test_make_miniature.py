"""The generators of toy data as a user calls them."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmswin.data.miniature import MiniatureSettings, is_complete

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(('name', 'kind'), [('coco', 'COCO'), ('ade', 'ADE20K')])
def test_the_tool(name: str, kind: str, tmp_path: Path) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, ROOT / 'tools' / f'make_miniature_{name}.py', tmp_path / 'mini', *arguments]
        return subprocess.run([str(part) for part in command], capture_output=True, text=True)

    options = ('--train', '2', '--val', '1', '--size', '48', '--seed', '5', '--classes', 'star,hexagon', 'circle')
    made = run(*options)
    assert made.returncode == 0, made.stderr
    assert '3/3 images' in made.stdout
    assert is_complete(tmp_path / 'mini', MiniatureSettings(2, 1, 48, 5, ('star', 'hexagon', 'circle')), kind)
    again = run(*options)
    assert again.returncode == 1 and again.stderr.startswith('error: ') and '--force' in again.stderr
    assert run(*options, '--force').returncode == 0
