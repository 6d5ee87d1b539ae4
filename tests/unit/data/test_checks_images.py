"""Faults of image files: each that users are known to meet gets its own message."""

import os


def bad_images(data, number: int, split: str = 'train') -> None:
    """Make a large data set out of the small one, and delete some of its images."""
    part, folder = data.parts[split], data.root / f'{split}2017'
    for index in range(11, 201):
        part['images'].append({'id': index, 'file_name': f'{index:03d}.jpg', 'width': 80, 'height': 60})
        os.link(folder / '001.jpg', folder / f'{index:03d}.jpg')
    for index in range(2, 2 + number):
        (folder / f'{index:03d}.jpg').unlink()


def test_few_missing_images_are_a_warning(data) -> None:
    bad_images(data, 2)
    level, message = data.only()
    assert level == 'warning'
    assert '2 of 200 images (1.00%) are missing or do not decode' in message and 'Training skips them' in message
    assert f'{data.root}/train2017/002.jpg (missing), {data.root}/train2017/003.jpg (missing)' in message


def test_many_missing_images_are_an_error(data) -> None:
    bad_images(data, 3)
    level, message = data.only()
    assert level == 'error' and '3 of 200 images (1.50%)' in message and 'At most 1.00% may be skipped' in message


def test_one_missing_image_in_a_small_data_set_is_an_error(data) -> None:
    (data.root / 'train2017' / '005.jpg').unlink()
    level, message = data.only()
    assert level == 'error' and '1 of 10 images (10.00%)' in message and '005.jpg (missing)' in message


def test_a_pipeline_that_cannot_skip(data) -> None:
    bad_images(data, 1)
    data.dataset['pipeline'][0] = {'type': 'LoadImageFromFile'}
    level, message = data.only()
    assert level == 'error' and "or load with type='mmswin.LoadImageFromFile'" in message


def test_testing_cannot_skip(data) -> None:
    bad_images(data, 1, 'val')
    level, message = data.only(('val',))
    assert level == 'error' and 'This pipeline cannot skip an image: restore the files' in message
    assert 'mmswin.LoadImageFromFile' not in message


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
    assert data.check() == []
    level, message = data.only(decode=True)
    assert level == 'error' and '3 of 10 images (30.00%)' in message
    assert '001.jpg (image file is truncated' in message
    assert '002.jpg (not an image)' in message and '003.jpg (empty file)' in message
