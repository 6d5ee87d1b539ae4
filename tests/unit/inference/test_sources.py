"""Sources: what is found in files, folders, globs, arrays, videos; names stay apart; what is broken is noted."""

import os

import cv2
import numpy as np
import pytest

from mmswin.errors import RunError
from mmswin.inference import sources

IMAGE = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)


def write_video(path, frames=5):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 48))
    for number in range(frames):
        video.write(np.full((48, 64, 3), 40 * number, np.uint8))
    video.release()


@pytest.fixture
def folder(tmp_path):
    for name in ('a.png', 'a.bmp', 'deep/b.png', 'notes.txt', '.hidden.png', '.checkpoints/c.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(cv2.imencode('.png', IMAGE)[1].tobytes())
    return tmp_path


def names(source):
    return [item.name for item in sources.find(source)]


def test_names_are_paths_below_the_source_and_no_two_alike(folder):
    assert names(str(folder)) == ['a_bmp', 'a_png', 'deep/b']
    assert names(folder / 'a.png') == ['a']
    assert names(str(folder / '**' / '*.png')) == ['a', 'deep/b']
    assert names([str(folder / 'a.png'), str(folder / 'a.png'), IMAGE, 3]) == ['a_png', 'a_png_2', 'array', 'camera_3']
    assert names([IMAGE, IMAGE, IMAGE]) == ['array', 'array_2', 'array_3']
    (folder / 'a_png.png').write_bytes((folder / 'a.png').read_bytes())
    (folder / 'a_png.bmp').write_bytes((folder / 'a.png').read_bytes())
    assert names(str(folder)) == ['a_bmp', 'a_png', 'a_png_bmp', 'a_png_png', 'deep/b']


def test_earlier_results_below_the_source_are_passed_over(folder):
    (folder / 'found' / 'deep').mkdir(parents=True)
    for name in ('found/a.jpg', 'found/deep/b.jpg', 'found.png'):
        (folder / name).write_bytes((folder / 'a.png').read_bytes())
    all_names = ['a_bmp', 'a_png', 'deep/b', 'found', 'found/a', 'found/deep/b']
    assert names(folder) == all_names
    assert [item.name for item in sources.find(folder, folder / 'found')] == ['a_bmp', 'a_png', 'deep/b', 'found']
    assert [item.name for item in sources.find(folder, folder.parent)] == all_names
    # Where they are all that is asked for, they are meant.
    assert [item.name for item in sources.find(folder / 'found', folder / 'found')] == ['a', 'deep/b']


def test_links_back_are_followed_once(folder):
    (folder / 'deep' / 'latest').symlink_to(folder, target_is_directory=True)
    assert names(folder) == ['a_bmp', 'a_png', 'deep/b']
    (folder / 'again').symlink_to(folder / 'deep', target_is_directory=True)  # no circle: both names are there
    assert names(folder) == ['a_bmp', 'a_png', 'again/b', 'deep/b']


def test_names_of_a_relative_pattern_are_paths_too(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / 'other').mkdir()
    (folder / 'other' / 'b.png').write_bytes((folder / 'a.png').read_bytes())
    assert names('**/*.png') == ['a', 'deep/b', 'other/b']
    assert names('*/b.png') == ['deep/b', 'other/b']
    assert names('d*/b.png') == ['b']


def test_a_folder_called_by_a_number_is_a_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / 'deep').rename('7')
    assert [item.kind for item in sources.find('7')] == ['picture']
    assert [item.kind for item in sources.find('8')] == ['camera']


@pytest.mark.parametrize(
    'source', ['nowhere.jpg', 'nowhere/*.jpg', [], 1.5, IMAGE[..., 0], IMAGE.astype(float), IMAGE[:0]]
)
def test_what_is_no_source_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError):
        sources.find(source)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(RunError, match='no pictures'):
        sources.find(tmp_path)


def test_broken_files_are_noted_and_left_out(folder):
    photograph = cv2.imencode('.jpg', np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))[1].tobytes()
    (folder / 'cut.jpg').write_bytes(photograph[:9000])
    (folder / 'empty.jpg').touch()
    (folder / 'text.jpg').write_text('no picture')
    (folder / 'broken.mp4').write_text('no video')
    skipped = []
    frames = list(sources.read(sources.find(folder), skipped))
    assert [frame.name for frame in frames] == ['a_bmp', 'a_png', 'deep/b']
    assert (frames[1].image == IMAGE).all() and frames[1].path == str(folder / 'a.png')
    assert [path for path, _ in skipped] == [
        str(folder / n) for n in ('broken.mp4', 'cut.jpg', 'empty.jpg', 'text.jpg')
    ]


def test_what_pillow_does_not_know_is_the_decoders_to_say(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.tif'), np.full((20, 30, 3), 0.5, np.float32))
    skipped = []
    (frame,) = sources.read(sources.find(tmp_path), skipped)
    assert frame.image.shape == (20, 30, 3) and frame.image.dtype == np.uint8 and not skipped
    # Pillow as a decoder would start other programs for some formats.
    assert not list(sources.read(sources.find(tmp_path), skipped, backend='pillow')) and len(skipped) == 1


def test_a_network_for_grey_pictures_gets_grey_frames(tmp_path):
    write_video(tmp_path / 'film.mp4', frames=1)
    cv2.imwrite(str(tmp_path / 'a.png'), IMAGE)
    frames = list(sources.read(sources.find([str(tmp_path), IMAGE]), [], color_type='grayscale'))
    assert [frame.image.shape for frame in frames] == [(20, 30), (48, 64), (20, 30)]
    assert np.abs(frames[0].image.astype(int) - frames[2].image).max() <= 1


def test_videos_are_read_frame_by_frame(tmp_path):
    write_video(tmp_path / 'film.mp4')
    items, skipped = sources.find(tmp_path), []
    assert sources.count(items) == 5
    frames = list(sources.read(items, skipped))
    assert [frame.name for frame in frames] == [f'film/{number:06}' for number in range(5)]
    assert {frame.video for frame in frames} == {'film'} and frames[0].fps == 10
    assert abs(frames[3].image.mean() - 120) < 4 and not skipped


def test_a_colon_in_the_name_of_a_video(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video = cv2.VideoWriter('a.mp4', cv2.VideoWriter_fourcc(*'mp4v'), 12, (64, 48))
    video.write(IMAGE[:48, :64] if IMAGE.shape[0] >= 48 and IMAGE.shape[1] >= 64 else np.zeros((48, 64, 3), np.uint8))
    video.release()
    (tmp_path / 'a.mp4').rename('12:30.mp4')
    skipped = []
    assert len(list(sources.read(sources.find('12:30.mp4'), skipped))) == 1 and skipped == []


def test_names_of_other_encodings(tmp_path):
    """OpenCV would end the process at the video's."""
    write_video(tmp_path / 'film.mp4')
    (tmp_path / 'film.mp4').rename(tmp_path / os.fsdecode(b'\xe9.mp4'))
    (tmp_path / os.fsdecode(b'\xe8.png')).write_bytes(cv2.imencode('.png', IMAGE)[1].tobytes())
    items, skipped = sources.find(tmp_path), []
    assert sources.count(items) is None
    assert [frame.name for frame in sources.read(items, skipped)] == [os.fsdecode(b'\xe8')]
    assert len(skipped) == 1 and 'UTF-8' in skipped[0][1]


def test_there_is_no_such_camera():
    items = sources.find(98)
    assert sources.count(items) is None
    with pytest.raises(RunError, match='camera 98'):
        next(sources.read(items, []))
