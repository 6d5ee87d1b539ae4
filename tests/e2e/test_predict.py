"""tools/predict.py as a user calls it: pictures, one json, a summary; what is broken is named and the rest goes on."""

import json
import shutil

import pytest
import torch
from mmengine.config import Config

from mmswin.engine.preflight import build_model


@pytest.fixture
def weights(workplace):
    """Random weights, which predict something everywhere."""
    torch.manual_seed(0)
    state = build_model(Config.fromfile(workplace.detection)).state_dict()
    torch.save({'state_dict': state}, workplace.directory / 'random.pth')
    return 'random.pth'


def test_pictures_and_a_broken_one(workplace, weights):
    shutil.copytree(workplace.data / 'val', workplace.directory / 'in')
    (workplace.directory / 'in' / 'broken.jpg').write_text('broken')
    predict = ('predict.py', workplace.detection, weights, 'in', '--out', 'out', '--score', '0', '--save-json')
    done = workplace.call(*predict, '--device', 'cpu')
    assert done.status == 1, done.output
    assert 'skipped in/broken.jpg' in done.output
    assert done.output.splitlines()[-1].startswith('3 pictures in ')
    found = {str(path.relative_to(workplace.directory)) for path in (workplace.directory / 'out').iterdir()}
    assert found == {'out/predictions.json', *(f'out/{number:012}.jpg' for number in (1, 2, 3))}
    content = json.loads((workplace.directory / 'out' / 'predictions.json').read_text())
    assert [category['name'] for category in content['categories']] == ['square', 'bar']
    assert {entry['image_id'] for entry in content['annotations']} == {1, 2, 3}
    before = workplace.files()
    again = workplace.call(*predict)
    assert again.status == 2 and '--overwrite' in again.output and len(again.output.splitlines()) == 1
    assert workplace.files() == before
    empty = workplace.call(
        'predict.py', workplace.detection, weights, 'data/annotations', '--out', 'new', '--device', 'cpu'
    )
    assert empty.status == 2 and len(empty.output.splitlines()) == 1 and 'no pictures' in empty.output
    assert workplace.files() == before


def test_explain_and_browse(workplace, weights):
    image = 'data/val/000000000001.png'
    explain = ('explain.py', workplace.detection, weights, image, '--out', 'why', '--score', '0', '--number', '2')
    done = workplace.call(*explain, '--stages', '2', '4', '--device', 'cpu', warm=True)
    assert done.status == 0, done.output
    pictures = sorted((workplace.directory / 'why').iterdir())
    assert len(pictures) == 2 and all(picture.name.startswith('000000000001_') for picture in pictures)
    done = workplace.call('browse.py', workplace.detection, '--out', 'seen', '--number', '3', warm=True)
    assert done.status == 0, done.output
    assert done.output.splitlines()[-1].startswith('3 images: ')
    assert len(list((workplace.directory / 'seen').glob('*.jpg'))) == 3
    before = workplace.files()
    assert workplace.call('browse.py', workplace.detection, '--out', 'seen', warm=True).status == 2
    assert workplace.call(*explain, '--device', 'cpu', warm=True).status == 2
    assert workplace.files() == before
