"""mmpretrain is looked for apart only when it is asked for, and torchvision is mended before its first import."""

import sys
from collections.abc import Iterator
from importlib import invalidate_caches
from pathlib import Path

import pytest

from mmswin.environment import importable


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The folders of torchvision whose operators would be declared: a process can do so once."""
    folders: list[Path] = []
    monkeypatch.setattr(importable, '_torchvision_operators', folders.append)
    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    paths = sys.path[:]
    sys.path[:] = [path for path in paths if not Path(path, 'torchvision').is_dir()]
    yield folders
    sys.path[:] = paths


def package(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / '__init__.py').write_text('')


def test_it_is_found_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mended: list[Path]) -> None:
    monkeypatch.setenv('MMSWIN_PRETRAIN', str(tmp_path))
    assert not importable.make_mmpretrain_importable()
    assert str(tmp_path) not in sys.path and not mended
    package(tmp_path, 'mmpretrain')
    package(tmp_path, 'torchvision')
    assert importable.make_mmpretrain_importable()
    assert sys.path[-1] == str(tmp_path) and mended == [tmp_path / 'torchvision']
    assert importable.make_mmpretrain_importable()
    assert sys.path.count(str(tmp_path)) == 1


def test_one_of_the_environment_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mended: list[Path]) -> None:
    package(tmp_path / 'own', 'mmpretrain')
    package(tmp_path / 'apart', 'mmpretrain')
    sys.path.insert(0, str(tmp_path / 'own'))
    invalidate_caches()
    monkeypatch.setenv('MMSWIN_PRETRAIN', str(tmp_path / 'apart'))
    assert importable.make_mmpretrain_importable()
    assert str(tmp_path / 'apart') not in sys.path and not mended


def test_what_models_are_exported_with_is_found_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mended: list[Path]
) -> None:
    monkeypatch.setenv('MMSWIN_EXPORT_LIBRARIES', str(tmp_path))
    package(tmp_path, 'no_such_exporter')
    importable.make_exporters_importable('json', 'no_such_runtime')
    assert str(tmp_path) not in sys.path
    importable.make_exporters_importable('no_such_exporter', 'no_such_exporter')
    assert sys.path[-1] == str(tmp_path) and sys.path.count(str(tmp_path)) == 1


def test_folders_are_the_environments_unless_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('MMSWIN_PRETRAIN', raising=False)
    monkeypatch.delenv('MMSWIN_EXPORT_LIBRARIES', raising=False)
    assert importable.mmpretrain_folder() == Path(sys.prefix, 'pretrain')
    assert importable.export_folder() == Path(sys.prefix, 'export')
