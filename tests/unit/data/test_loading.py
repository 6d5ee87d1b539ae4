"""Bad image files are skipped, named once and counted over all workers, and too many of them stop the run.

All through mmengine's datasets and torch's data loader, as in training.
"""

import logging
import pickle
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from mmswin.data import BadImageError, LoadImageFromFile
from mmswin.registry import TRANSFORMS


class Images(BaseDataset):
    """Images of a directory, without annotations; an item is the number of its image."""

    def load_data_list(self) -> list[dict]:
        return [{'img_path': str(path), 'number': number} for number, path in enumerate(self.data_prefix['paths'])]

    def _join_prefix(self) -> None:
        pass


def make_images(folder: Path, number: int, bad: dict[int, bytes | None]) -> list[Path]:
    """Image files, of which those in ``bad`` have other contents, or with None do not exist."""
    jpeg = cv2.imencode('.jpg', np.zeros((8, 8, 3), dtype=np.uint8))[1].tobytes()
    paths = [folder / f'{index:03d}.jpg' for index in range(number)]
    for index, path in enumerate(paths):
        contents = bad.get(index, jpeg)
        if contents is not None:
            path.write_bytes(contents)
    return paths


def dataset(paths: list[Path], test_mode: bool = False, **options) -> Images:
    pipeline = [dict(type='mmswin.LoadImageFromFile', **options), lambda results: results['number']]
    return Images(data_prefix={'paths': paths}, pipeline=pipeline, test_mode=test_mode)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.WARNING)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_is_found_by_its_name_in_a_config() -> None:
    assert TRANSFORMS.get('mmswin.LoadImageFromFile') is LoadImageFromFile


def test_a_good_file_loads_as_in_mmcv(tmp_path: Path) -> None:
    (path,) = make_images(tmp_path, 1, {})
    result = LoadImageFromFile(to_float32=True)({'img_path': str(path)})
    assert result['img'].shape == (8, 8, 3) and result['img'].dtype == np.float32
    assert result['img_shape'] == result['ori_shape'] == (8, 8)


@pytest.mark.parametrize('contents', [None, b'', b'no image', b'\xff\xd8\xff\xe0\x00'])
def test_a_few_bad_files_are_skipped_named_once_and_counted(
    tmp_path: Path, log: pytest.LogCaptureFixture, contents: bytes | None
) -> None:
    paths = make_images(tmp_path, 300, {7: contents, 99: contents})
    images = dataset(paths)
    generator = np.random.default_rng(0)
    for _ in range(2):
        assert not {7, 99} & {images[index] for index in generator.permutation(300)}
    assert images.pipeline.transforms[0].num_bad == 2
    messages = [record.getMessage() for record in log.records if 'cannot be loaded' in record.getMessage()]
    assert len(messages) == 2
    assert 'Bad images so far: 1' in messages[0] and 'Bad images so far: 2' in messages[1]
    for index in (7, 99):
        assert sum(f"Skipping image '{paths[index]}'" in message for message in messages) == 1


def test_more_than_the_fraction_raises_and_names_the_file(tmp_path: Path) -> None:
    paths = make_images(tmp_path, 300, dict.fromkeys((150, 160, 170, 180)))
    images = dataset(paths)
    with pytest.raises(BadImageError, match=r'images cannot be loaded, more than the 1.00% that may be skipped'):
        for index in range(300):
            images[index]


def test_one_bad_file_of_few_raises_in_the_second_epoch_without_workers(tmp_path: Path) -> None:
    """The transform cannot know the size of the data set there, until a bad file comes by again."""
    paths = make_images(tmp_path, 80, {5: None})
    images = dataset(paths)
    np.random.seed(0)
    assert len([images[index] for index in range(80)]) == 80
    with pytest.raises(BadImageError, match=r'1 of 80 images cannot be loaded.*005.jpg'):
        images[5]


def test_one_bad_file_of_few_raises_at_once_in_a_worker(tmp_path: Path) -> None:
    paths = make_images(tmp_path, 80, {5: None})
    with pytest.raises(BadImageError, match=r'1 of 80 images cannot be loaded.*005.jpg'):
        list(DataLoader(dataset(paths), num_workers=1))


def test_workers_count_together(tmp_path: Path) -> None:
    """Two bad files met by any of four workers, in any of three epochs, are two."""
    images = dataset(make_images(tmp_path, 300, {0: None, 10: None}))
    for _ in range(3):
        assert len(list(DataLoader(images, batch_size=10, num_workers=4, shuffle=True))) == 30
    assert images.pipeline.transforms[0].num_bad == 2


def test_bad_files_of_all_workers_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of four workers meets one bad file of 300 images, which may have three."""
    images = dataset(make_images(tmp_path, 300, dict.fromkeys((0, 10, 20, 30))))
    loader = DataLoader(images, batch_size=10, num_workers=3, sampler=range(30))
    assert len(list(loader)) == 3
    assert images.pipeline.transforms[0].num_bad == 3
    # The fourth in this process: torch takes 5 seconds per worker to close a loader in which an error was raised.
    monkeypatch.setattr(torch.utils.data, 'get_worker_info', lambda: SimpleNamespace(dataset=images))
    with pytest.raises(BadImageError, match='4 of 300 images cannot be loaded'):
        images[30]


def test_counts_survive_into_spawned_processes(tmp_path: Path) -> None:
    transform = LoadImageFromFile()
    process = torch.multiprocessing.get_context('spawn').Process(
        target=transform, args=({'img_path': str(tmp_path / 'missing.jpg')},)
    )
    process.start()
    process.join()
    assert process.exitcode == 0 and transform.num_bad == 1


def test_testing_raises_on_the_first_bad_file(tmp_path: Path) -> None:
    paths = make_images(tmp_path, 300, {7: b'no image'})
    images = dataset(paths, test_mode=True, max_bad_fraction=0.0)
    assert images[6] == 6
    with pytest.raises(BadImageError, match=r'cannot load image .*007.jpg.*Every image is needed here'):
        images[7]


def test_other_faults_are_not_taken_for_bad_files() -> None:
    with pytest.raises(KeyError, match='img_path'):
        LoadImageFromFile()({'path': 'x.jpg'})


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match='max_bad_fraction must be at least 0 and below 1, got 1.5'):
        LoadImageFromFile(max_bad_fraction=1.5)
    with pytest.raises(ValueError, match='max_bad_fraction in place of ignore_empty'):
        LoadImageFromFile(ignore_empty=True)
    assert 'max_bad_fraction=0.02)' in repr(LoadImageFromFile(max_bad_fraction=0.02))


def test_can_be_copied_and_pickled() -> None:
    assert pickle.loads(pickle.dumps(LoadImageFromFile(max_bad_fraction=0.02))).max_bad_fraction == 0.02


def test_a_name_in_another_encoding_is_skipped_as_others(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    """As Python lists a file whose name is not UTF-8."""
    assert LoadImageFromFile()({'img_path': f'{tmp_path}/caf\udce9.jpg'}) is None
    assert 'udce9' in log.records[-1].getMessage()
