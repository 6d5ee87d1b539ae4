"""Faults of image files: each that users are known to meet gets its own message."""

import subprocess

import pytest
from PIL import Image


def test_all_images_elsewhere(data) -> None:
    for image in data.train['images']:
        image['file_name'] = f'train2017/{image["file_name"]}'
    level, message = data.only()
    assert level == 'error' and 'none of the 10 images' in message
    assert "looked for 'train2017/001.jpg'; the directory holds 10 entries, such as '001.jpg'" in message


def test_images_that_do_not_decode(data) -> None:
    folder = data.root / 'train2017'
    whole = (folder / '001.jpg').read_bytes()
    (folder / '001.jpg').write_bytes(whole[: len(whole) // 2])
    (folder / '002.jpg').write_bytes(b'not an image at all')
    (folder / '003.jpg').write_bytes(b'')
    level, message = data.only(decode=True)
    assert level == 'error' and '3 of 10 images (30.00%)' in message
    assert '001.jpg (image file is truncated' in message
    assert '002.jpg (not an image)' in message and '003.jpg (empty file)' in message


def test_pictures_of_another_size_than_the_file_says(data) -> None:
    """Without --decode too, of a sample."""
    for path in (data.root / 'train2017').iterdir():
        Image.open(path).resize((40, 30)).save(path)
    for decode in (False, True):
        level, message = data.only(decode=decode)
        assert level == 'error' and '10 of 10 pictures' in message and 'has 40 x 30 pixels and not 80 x 60' in message


def test_one_odd_picture_among_many_is_a_warning(data) -> None:
    data.enlarge(0)
    path = data.root / 'train2017' / '002.jpg'
    Image.open(path).resize((40, 30)).save(path)
    level, message = data.only()
    assert level == 'warning' and '1 of 200 pictures' in message


def test_a_photograph_is_judged_as_mmcv_turns_it(data) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = data.root / 'train2017' / '001.jpg'
    Image.open(path).save(path, exif=exif)
    assert 'has 60 x 80 pixels and not 80 x 60' in data.only()[1]
    data.train['images'][0].update(width=60, height=80)
    assert data.check() == []


def test_odd_pictures_are_named_or_taken_and_never_crash(data, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture 7 pixels wide is sound; one that Pillow would hand to another program is no picture."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError('a program was started')

    monkeypatch.setattr(subprocess, 'Popen', refuse)
    folder = data.root / 'train2017'
    Image.new('RGB', (7, 60)).save(folder / '001.jpg')
    data.train['images'][0]['width'] = 7
    data.train['annotations'] = [one for one in data.train['annotations'] if one['image_id'] != 1]
    data.dataset['filter_cfg'] = {}
    assert data.check(decode=True) == []
    contents = {
        '002.jpg': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n',
        '003.jpg': b'qoif\x00\x00\x10\x00\x00\x00\x10\x00\x03\x00',
        '004.jpg': b'\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1',
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    level, message = data.only(decode=True)
    assert (
        level == 'error'
        and '3 of 10 images' in message
        and all(f'{name} (not an image)' in message for name in contents)
    )
