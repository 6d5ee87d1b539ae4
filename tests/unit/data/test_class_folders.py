"""Faults of pictures in class folders and lists; tests/e2e/test_classify.py asks the same of mmpretrain's own class."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmswin.data import class_folders
from mmswin.data.checked_dataset import CheckedDataset, Report
from mmswin.data.places import check_places

LOADING = [{'type': 'LoadImageFromFile'}]


class Folders:
    """What the check asks of mmpretrain's CustomDataset."""

    extensions = ('.png', '.jpg')
    with_label = True
    CLASSES: Any = None

    def __init__(self, img_prefix: Path, ann_file: str = '') -> None:
        self.img_prefix, self.ann_file = str(img_prefix), ann_file

    def is_valid_file(self, name: str) -> bool:
        return name.endswith(self.extensions)

    def load_data_list(self) -> list[dict[str, Any]]:
        root = Path(self.img_prefix)
        if self.ann_file:
            pairs = [line.rsplit(' ', 1) for line in Path(self.ann_file).read_text().splitlines()]
            return [{'img_path': str(root / name), 'gt_label': int(label)} for name, label in pairs]
        self.CLASSES = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
        found = [(path, label) for label, name in enumerate(self.CLASSES) for path in sorted((root / name).iterdir())]
        return [{'img_path': str(path), 'gt_label': label} for path, label in found]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ('train', 'val'):
        for name in ('cat', 'dog'):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(2):
                Image.new('RGB', (4, 4)).save(tmp_path / split / name / f'{i}.png')
    return tmp_path


def part_of(cfg: dict, built: Folders, split: str = 'train', decode: bool = False, **entries: object) -> CheckedDataset:
    dataset = {'type': 'CustomDataset', 'pipeline': LOADING, **entries}
    part = CheckedDataset(cfg, split, 'x.dataset', dataset, decode, Report())
    part.built = built
    return part


@pytest.fixture(autouse=True)
def building(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(dataset: dict, scope: str | None) -> Folders:
        return Folders(Path(dataset['data_root'], dataset['data_prefix']))

    monkeypatch.setattr(class_folders, 'build_dataset', build)


def faults(root: Path, split: str = 'train', ann_file: str = '') -> list[tuple[str, str]]:
    train = dict(type='CustomDataset', data_root=str(root), data_prefix='train')
    part = part_of(dict(train_dataloader=dict(dataset=train)), Folders(root / split, ann_file), split)
    class_folders.check(part)
    return [(finding.level, finding.message) for finding in part.report.findings]


def test_well_kept_folders(root: Path) -> None:
    part = part_of({}, Folders(root / 'train'), decode=True)
    assert class_folders.check(part) == ['cat', 'dog']
    assert part.report == Report(summaries=[f'train: 4 pictures, 2 classes in {root}/train'])
    assert not faults(root, 'val')


@pytest.mark.parametrize(
    ('indices', 'words'), [(2, ('first 2 of 4', '1 of the 2')), (-1, ('last 1 of 4', '1 of the 2'))]
)
def test_a_number_of_pictures_that_leaves_classes_out(root: Path, indices: int, words: tuple[str, ...]) -> None:
    part = part_of({}, Folders(root / 'train'), indices=indices)
    class_folders.check(part)
    (found,) = part.report.findings
    assert found.level == 'warning' and all(word in found.message for word in (f'x.dataset.indices={indices}', *words))


@pytest.mark.parametrize('indices', [3, -3, [0], None])
def test_a_number_of_pictures_of_all_classes(root: Path, indices: object) -> None:
    part = part_of({}, Folders(root / 'train'), indices=indices)
    class_folders.check(part)
    assert not part.report.findings


def test_a_class_without_pictures(root: Path) -> None:
    for path in (root / 'train' / 'cat').iterdir():
        path.unlink()
    ((level, message),) = faults(root)
    assert level == 'warning' and '1 of 2' in message and 'cat' in message


def test_names_in_another_order_than_the_folders(root: Path) -> None:
    built = Folders(root / 'train')
    part = part_of({}, built)
    built.load_data_list = lambda: [{'img_path': str(root / 'train/cat/0.png'), 'gt_label': 0}]
    for names, wrong in ((('dog', 'cat'), 1), (('cat', 'dog'), 0), (('Katze', 'Hund'), 0)):
        part.report.findings.clear()
        built.CLASSES = names
        class_folders.check(part)
        found = [finding for finding in part.report.findings if 'another order' in finding.message]
        assert [finding.level for finding in found] == ['error'] * wrong


def test_pictures_whose_names_end_otherwise(root: Path) -> None:
    for name in ('2.webp', '3.WebP', '4.gif', 'notes.txt', '.5.webp'):
        (root / 'train' / 'cat' / name).write_bytes(b'')
    part = part_of({}, Folders(root / 'train'))
    part.built.load_data_list = lambda: [
        {'img_path': str(root / f'train/{name}/0.png'), 'gt_label': i} for i, name in enumerate(('cat', 'dog'))
    ]
    part.built.CLASSES = ('cat', 'dog')
    class_folders.check(part)
    (found,) = part.report.findings
    assert found.level == 'warning' and '2 of .webp' in found.message and '1 of .gif' in found.message
    assert '+x.dataset.extensions="(.jpg, .png, .gif, .webp)"' in found.message


def test_no_folders(root: Path) -> None:
    ((level, message),) = faults(root, 'train/cat')
    assert level == 'error' and '0.png' in message and 'ann_file' in message


def test_other_classes_than_in_training(root: Path) -> None:
    (root / 'val' / 'cat').rename(root / 'val' / 'cow')
    ((level, message),) = faults(root, 'val')
    assert level == 'error' and 'lacks cat' in message and 'cow' in message


def test_a_directory_that_is_named_by_a_text(root: Path) -> None:
    part = part_of({}, Folders(root / 'gone'), data_prefix='gone')
    part.format, part.built.data_root, part.built.data_prefix = 'classes', '', {'img_path': 'gone'}
    assert not check_places(part)
    (finding,) = part.report.findings
    assert (finding.level, finding.absent) == ('error', True)
    assert 'x.dataset.data_prefix=DIRECTORY' in finding.message and 'img_path' not in finding.message


def test_a_file_that_is_no_picture(root: Path) -> None:
    (root / 'train' / 'dog' / '1.png').write_bytes(b'')
    ((level, message),) = faults(root)
    assert level == 'error' and '1.png' in message and '1 of 4' in message


@pytest.mark.parametrize(('line', 'word'), [('cat/1.png one', "'cat/1.png one'"), ('cat/9.png 0', 'missing')])
def test_wrong_lines_of_a_list(root: Path, line: str, word: str) -> None:
    (root / 'list.txt').write_text(f'cat/0.png 0\n{line}\n')
    ((level, message),) = faults(root, 'train', str(root / 'list.txt'))
    assert level == 'error' and word in message


def test_a_label_beyond_the_classes(root: Path) -> None:
    (root / 'list.txt').write_text('cat/0.png 0\ndog/0.png 2\n')
    built = Folders(root / 'train', str(root / 'list.txt'))
    built.CLASSES = ('cat', 'dog')
    part = part_of({}, built)
    assert class_folders.check(part) == ['cat', 'dog']
    (finding,) = part.report.findings
    assert finding.level == 'error' and 'the label 2' in finding.message
