"""Names of configurations that come with mmswin, and copies of them that work elsewhere."""

from pathlib import Path

import pytest

from mmswin import shipped


def test_names_are_those_of_the_leaves():
    assert 'mask_rcnn_swin_t_coco' in shipped.names()
    assert all((shipped.directory() / f'{name}.py').is_file() for name in shipped.names())


@pytest.mark.parametrize(
    'config', ['mask_rcnn_swin_t_coco', 'mask_rcnn_swin_t_coco.py', 'mmswin::swin/mask_rcnn_swin_t_coco.py']
)
def test_a_name_is_resolved(config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Path(shipped.resolve(config)) == shipped.directory() / 'mask_rcnn_swin_t_coco.py'


def test_a_file_wins_and_an_unknown_name_stays(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path('mask_rcnn_swin_t_coco.py').touch()
    for config in ('mask_rcnn_swin_t_coco.py', 'gone', 'folder/mask_rcnn_swin_t_coco.py'):
        assert shipped.resolve(config) == config


@pytest.mark.parametrize('name', shipped.names())
def test_a_copy_inherits_by_name(name, monkeypatch):
    monkeypatch.setattr(shipped, 'is_installed', lambda: True)
    text = shipped.editable_copy(name)
    bases = text.count('mmswin::swin/')
    original = (shipped.directory() / f'{name}.py').read_text(encoding='utf-8')
    assert bases and text.replace('mmswin::swin/', '') == original.replace("'./", "'")
    for line in text.splitlines():
        if 'mmswin::swin/' in line:
            for path in line.split('mmswin::swin/')[1:]:
                assert (shipped.directory() / path.split("'")[0]).is_file()


def test_a_copy_inherits_by_path_where_names_are_not_found(monkeypatch, tmp_path):
    from mmengine.config import Config

    monkeypatch.setattr(shipped, 'is_installed', lambda: False)
    (tmp_path / 'mine.py').write_text(shipped.editable_copy('mask_rcnn_swin_t_coco'))
    shipped_one = Config.fromfile(shipped.directory() / 'mask_rcnn_swin_t_coco.py')
    assert Config.fromfile(tmp_path / 'mine.py').model == shipped_one.model
