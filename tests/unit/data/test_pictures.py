"""Faults of image files: each that users are known to meet gets its own message."""

import os
import struct
import subprocess
import zlib
from pathlib import Path

import mmcv
import pytest
from PIL import Image

from mmswin.data import pictures
from mmswin.data.pictures import missing_files


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


@pytest.mark.parametrize('ending', ['jpg', 'png', 'tif', 'webp'])
def test_sizes_are_those_that_mmcv_loads(tmp_path: Path, ending: str) -> None:
    path = str(tmp_path / f'a.{ending}')
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 30)).save(path, exif=exif)
    assert pictures.look(path).size == mmcv.imread(path).shape[1::-1]


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


def png(width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    """The beginning of a grey PNG, up to its pixels."""
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    chunks = [(b'IHDR', header), *more, (b'IDAT', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)) for kind, data in chunks
    )


def test_a_very_large_picture_is_no_bad_one(data) -> None:
    """Pillow refuses 179 million pixels where OpenCV, which loads them, takes a thousand."""
    before = Image.MAX_IMAGE_PIXELS
    (data.root / 'train2017' / '002.jpg').write_bytes(png(20000, 10000))
    data.train['images'][1].update(width=20000, height=10000)
    assert data.check() == []
    (data.root / 'train2017' / '002.jpg').write_bytes(png(200000, 100000))
    assert '002.jpg (not an image)' in data.only()[1]
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_file_system_that_takes_no_notice_of_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'A.JPG').touch()
    (tmp_path / 'e\u0301.jpg').touch()
    wanted = [str(tmp_path / name) for name in ('a.jpg', '\xe9.jpg', 'b.jpg')]
    assert missing_files(wanted) == wanted
    monkeypatch.setattr(os.path, 'exists', lambda path: True)
    assert missing_files(wanted) == wanted[2:]
