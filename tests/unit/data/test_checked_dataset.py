"""How many bad images a run survives."""


def test_few_missing_images_are_a_warning(data) -> None:
    data.enlarge(2)
    level, message = data.only()
    assert level == 'warning'
    assert '2 of 200 images (1.00%) are missing or do not decode' in message and 'Training skips them' in message
    assert f'{data.root}/train2017/002.jpg (missing), {data.root}/train2017/003.jpg (missing)' in message


def test_many_missing_images_are_an_error(data) -> None:
    data.enlarge(3)
    level, message = data.only()
    assert level == 'error' and '3 of 200 images (1.50%)' in message and 'At most 1.00% may be skipped' in message


def test_one_missing_image_in_a_small_data_set_is_an_error(data) -> None:
    (data.root / 'train2017' / '005.jpg').unlink()
    level, message = data.only()
    assert level == 'error' and '1 of 10 images (10.00%)' in message and '005.jpg (missing)' in message


def test_a_pipeline_that_cannot_skip(data) -> None:
    data.enlarge(1)
    data.dataset['pipeline'][0] = {'type': 'LoadImageFromFile'}
    level, message = data.only()
    assert level == 'error' and "or load with type='mmswin.LoadImageFromFile'" in message


def test_testing_cannot_skip(data) -> None:
    data.enlarge(1, 'val')
    level, message = data.only(('val',))
    assert level == 'error' and 'This pipeline cannot skip an image: restore the files' in message
    assert 'mmswin.LoadImageFromFile' not in message
