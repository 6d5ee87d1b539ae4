"""Files of results: pictures, videos, one json; complete whatever ends the run; nothing overwritten."""

import errno
import json

import cv2
import numpy as np
import pytest

from mmswin.errors import RunError, SavingError
from mmswin.inference.writing import Writer


def test_pictures_and_json(detector, picture, tmp_path):
    source = tmp_path / 'in'
    (source / 'deep').mkdir(parents=True)
    for name in ('a.png', 'deep/b.png'):
        cv2.imwrite(str(source / name), picture)
    with Writer(tmp_path / 'out', values=True) as writer:
        for result in detector(source):
            writer.add(result)
    assert writer.pictures == 2 and writer.counts == {'red': 2, 'blue': 2}
    found = {str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*') if path.is_file()}
    assert found == {'a.jpg', 'deep/b.jpg', 'predictions.json'}
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert [image['name'] for image in content['images']] == ['a', 'deep/b']
    assert [image['file_name'] for image in content['images']] == ['a.png', 'deep/b.png']
    assert [category['name'] for category in content['categories']] == ['red', 'blue']
    assert [(entry['id'], entry['image_id']) for entry in content['annotations']] == [(1, 1), (2, 1), (3, 2), (4, 2)]


def test_pictures_of_one_name_are_told_apart(detector, picture, tmp_path):
    for folder in ('day1', 'day2'):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'a.png'), picture)
    with Writer(tmp_path / 'out', values=True) as writer:
        for result in detector([tmp_path / 'day1', tmp_path / 'day2']):
            writer.add(result)
    images = json.loads((tmp_path / 'out' / 'predictions.json').read_text())['images']
    assert len({image['file_name'] for image in images}) == 2
    assert images[0]['file_name'] == 'a.png'


def test_labels_have_the_images_own_name(segmentor, picture, tmp_path):
    cv2.imwrite(str(tmp_path / 'street.png'), picture)
    with Writer(tmp_path / 'out', values=True) as writer:
        for result in segmentor(tmp_path / 'street.png'):
            writer.add(result)
    labels = cv2.imread(str(tmp_path / 'out' / 'labels' / 'street.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, result.label_map)
    assert writer.counts == {'dark': 1, 'blue': 1, 'red': 1}


def test_a_video_becomes_a_video_and_what_came_before_an_error_is_kept(detector, picture, tmp_path):
    video = cv2.VideoWriter(str(tmp_path / 'film.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 12, (160, 90))
    for _ in range(4):
        video.write(picture)
    video.release()
    with pytest.raises(KeyError), Writer(tmp_path / 'out', values=True) as writer:
        for result in detector([str(tmp_path / 'film.mp4'), picture]):
            if result.video is None:
                raise KeyError
            writer.add(result)
            assert not (tmp_path / 'out' / 'film.mp4').exists()
    drawn = cv2.VideoCapture(str(tmp_path / 'out' / 'film.mp4'))
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['film.mp4', 'predictions.json']
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 4 and drawn.get(cv2.CAP_PROP_FPS) == 12
    images = json.loads((tmp_path / 'out' / 'predictions.json').read_text())['images']
    assert [image['file_name'] for image in images] == [f'film/{number:06}.jpg' for number in range(4)]


def test_a_full_disk_is_said_and_leaves_no_half_file(detector, picture, tmp_path, monkeypatch):
    class Full:
        def write(self, content):
            raise OSError(errno.ENOSPC, 'No space left on device')

    with pytest.raises(SavingError, match=r'predictions\.json'), Writer(tmp_path / 'out', values=True) as writer:
        for result in detector([picture, picture]):
            writer.add(result)
            monkeypatch.setattr(writer, '_json', Full())
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'array.jpg', 'array_2.jpg'}


@pytest.mark.parametrize('name', ['a.jpg', 'a.mp4'])
def test_what_is_predicted_on_is_never_overwritten(detector, picture, tmp_path, name):
    cv2.imwrite(str(tmp_path / 'a.jpg'), picture)
    video = cv2.VideoWriter(str(tmp_path / 'a.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 12, (160, 90))
    video.write(picture)
    video.release()
    before = (tmp_path / name).read_bytes()
    with pytest.raises(RunError, match=name), Writer(tmp_path, overwrite=True) as writer:
        writer.add(next(detector(tmp_path / name)))
    assert (tmp_path / name).read_bytes() == before


def test_nothing_is_overwritten_unasked(tmp_path):
    (tmp_path / 'mine.txt').touch()
    for place in (tmp_path, tmp_path / 'mine.txt'):
        with pytest.raises(RunError, match=place.name):
            Writer(place)
    Writer(tmp_path, overwrite=True)
    Writer(tmp_path / 'new')
