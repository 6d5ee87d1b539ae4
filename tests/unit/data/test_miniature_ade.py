"""The miniature ADE20K: mmseg reads it as it reads the real one, labels lie where objects are drawn, the same settings
give the same files, and nothing that was not made by the generator is ever overwritten.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.datasets import ADE20KDataset
from PIL import Image

from mmswin.data.checks import inspect_config
from mmswin.data.miniature import DEFAULT_CLASSES, MiniatureSettings, make_miniature_coco
from mmswin.data.miniature_ade import (
    GROUND,
    MiniatureAdeSettings,
    MiniatureError,
    ensure_miniature_ade,
    is_complete,
    make_miniature_ade,
    make_scene,
)
from mmswin.data.miniature_drawing import coverage, random_shape

REPOSITORY = Path(__file__).resolve().parents[3]
SETTINGS = MiniatureAdeSettings(num_train=50, num_val=20, image_size=96, seed=3)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature_ade(tmp_path_factory.mktemp('data') / 'ade', SETTINGS)


def scenes(root: Path, split: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and label maps of a split as arrays."""
    return [
        (np.array(Image.open(path)), np.array(Image.open(root / 'annotations' / split / f'{path.stem}.png')))
        for path in sorted((root / 'images' / split).glob('*.jpg'))
    ]


def test_layout_is_that_of_ade20k(root: Path) -> None:
    for split, prefix, number in (('training', 'ADE_train', 50), ('validation', 'ADE_val', 20)):
        for part, suffix in (('images', '.jpg'), ('annotations', '.png')):
            names = sorted(path.name for path in (root / part / split).iterdir())
            assert names == [f'{prefix}_{index:08d}{suffix}' for index in range(1, number + 1)]
        for image, labels in scenes(root, split):
            assert image.dtype == labels.dtype == np.uint8 and image.shape == (*labels.shape, 3)


def test_labels_are_those_of_the_classes(root: Path) -> None:
    assert SETTINGS.names == (GROUND, *DEFAULT_CLASSES)
    maps = [labels for _, labels in scenes(root, 'training')]
    assert set(np.unique(np.concatenate([labels.ravel() for labels in maps]))) == set(range(7)), 'all, and 0'
    without = [(labels == 0).any() for labels in maps]
    assert 1 <= sum(without) <= 15, 'some pixels of some images are not labelled'
    assert np.mean([labels == 0 for labels in maps if labels.shape == maps[0].shape]) < 0.05
    assert len({labels.shape for labels in maps}) == 3, 'formats'
    shares = [np.mean(labels == 1) for labels in maps]
    assert 0.4 < np.mean(shares) < 0.9 and min(shares) < 0.6


def test_a_label_is_where_its_object_is_painted() -> None:
    """What decides the label of a pixel is the very mask that the object is painted with."""
    rng = np.random.default_rng(0)
    shape = random_shape(rng, 'star', (30.0, 26.0), 22.0, hue=0.3)
    covered, left, top = coverage(shape, 56, 64)
    assert covered.min() == 0 and covered.max() == 1 and left >= 0 and top >= 0
    assert covered.sum() == pytest.approx(shape.outline.area, rel=0.04)
    x, y = np.meshgrid(np.arange(covered.shape[1]) + left + 0.5, np.arange(covered.shape[0]) + top + 0.5)
    centre = shape.outline.centroid
    assert np.average(x, weights=covered) == pytest.approx(centre.x, abs=0.3)
    assert np.average(y, weights=covered) == pytest.approx(centre.y, abs=0.3)


def test_objects_have_mostly_the_colours_of_their_class(root: Path) -> None:
    """Labels that were shifted or shuffled would leave nothing to learn."""
    means: dict[int, list[np.ndarray]] = {}
    for image, labels in scenes(root, 'training'):
        for value in set(np.unique(labels)) - {0, 1}:
            if (labels == value).sum() > 100:
                means.setdefault(int(value), []).append(image[labels == value].mean(axis=0))
    centres = {value: np.median(colours, axis=0) for value, colours in means.items()}
    right = [
        value == min(centres, key=lambda other: np.abs(centres[other] - colour).sum())
        for value, colours in means.items()
        for colour in colours
    ]
    assert len(right) > 50 and np.mean(right) > 0.6


def test_ade20k_configurations_run_on_it_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = MiniatureAdeSettings(30, 4, 160, classes=('ade',))
    make_miniature_ade(tmp_path / 'ade', settings)
    assert settings.names == tuple(ADE20KDataset.METAINFO['classes']) and len(settings.names) == 150
    monkeypatch.setenv('MMSWIN_ADE_DIR', str(tmp_path / 'ade'))
    cfg = Config.fromfile(REPOSITORY / 'configs' / 'upernet_swin_t_ade20k.py')
    report = inspect_config(cfg, ('train', 'val', 'test'), decode=True)
    assert report.findings == [] and '30 images' in report.summaries[0]
    values = np.concatenate([labels.ravel() for _, labels in scenes(tmp_path / 'ade', 'training')])
    assert values.max() <= 150 and len(np.unique(values)) > 30
    dataset = ADE20KDataset(
        data_root=str(tmp_path / 'ade'),
        pipeline=[dict(type='mmseg.LoadAnnotations')],
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
    )
    assert len(dataset) == 4
    raw, loaded = scenes(tmp_path / 'ade', 'validation')[0][1], dataset[0]['gt_seg_map']
    assert (loaded[raw > 0] == raw[raw > 0] - 1).all() and (loaded[raw == 0] == 255).all()


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


def test_the_same_settings_give_the_same_files(root: Path, tmp_path: Path) -> None:
    assert digest(make_miniature_ade(tmp_path / 'again', SETTINGS)) == digest(root)


def test_the_seed_matters_and_the_number_of_images_does_not() -> None:
    first, labels = make_scene(MiniatureAdeSettings(10, 5, 64, seed=0), 'train', 4)
    same, same_labels = make_scene(MiniatureAdeSettings(1000, 7, 64, seed=0), 'train', 4)
    assert (first == same).all() and (labels == same_labels).all()
    for other in (
        make_scene(MiniatureAdeSettings(10, 5, 64, seed=1), 'train', 4)[0],
        make_scene(MiniatureAdeSettings(10, 5, 64, seed=0), 'val', 4)[0],
        make_scene(MiniatureAdeSettings(10, 5, 64, seed=0), 'train', 3)[0],
    ):
        assert other.shape != first.shape or (other != first).any()


def test_many_images_can_be_made() -> None:
    settings = MiniatureAdeSettings(300, 1, 40, seed=1)
    assert min(len(np.unique(make_scene(settings, 'train', i)[1])) for i in range(300)) == 1


@pytest.mark.parametrize('force', [False, True])
def test_a_directory_of_others_is_left_alone(tmp_path: Path, force: bool) -> None:
    (tmp_path / 'images').mkdir()
    theirs = tmp_path / 'images' / 'mine.jpg'
    theirs.write_text('theirs')
    with pytest.raises(MiniatureError, match='not made by this generator'):
        make_miniature_ade(tmp_path, MiniatureAdeSettings(1, 1, 32), force=force)
    assert theirs.read_text() == 'theirs' and list(tmp_path.rglob('*')) == [tmp_path / 'images', theirs]


def test_the_two_miniatures_do_not_replace_each_other(tmp_path: Path) -> None:
    make_miniature_coco(tmp_path / 'coco', MiniatureSettings(1, 1, 32))
    make_miniature_ade(tmp_path / 'ade', MiniatureAdeSettings(1, 1, 32))
    before = digest(tmp_path)
    with pytest.raises(MiniatureError, match='holds a miniature COCO, not a miniature ADE20K'):
        make_miniature_ade(tmp_path / 'coco', MiniatureAdeSettings(1, 1, 32), force=True)
    with pytest.raises(MiniatureError, match='holds a miniature ADE20K, not a miniature COCO'):
        make_miniature_coco(tmp_path / 'ade', MiniatureSettings(1, 1, 32), force=True)
    assert digest(tmp_path) == before


def test_a_whole_data_set_is_used_again_and_a_broken_one_made_again(tmp_path: Path) -> None:
    settings = MiniatureAdeSettings(3, 2, 32)
    calls = []
    assert ensure_miniature_ade(tmp_path / 'ade', settings, lambda done, total: calls.append((done, total)))
    assert calls == [(i, 5) for i in range(1, 6)]
    before = digest(tmp_path)
    assert not ensure_miniature_ade(tmp_path / 'ade', settings)
    with pytest.raises(MiniatureError, match='--force'):
        make_miniature_ade(tmp_path / 'ade', settings)
    (tmp_path / 'ade' / 'annotations' / 'training' / 'ADE_train_00000002.png').unlink()
    assert ensure_miniature_ade(tmp_path / 'ade', settings)
    assert digest(tmp_path) == before
    assert not is_complete(tmp_path / 'ade', MiniatureAdeSettings(3, 2, 32, seed=1))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_train': 0}, 'num_train=0'),
        ({'image_size': 16}, 'image_size=16'),
        ({'seed': -1}, 'seed=-1'),
        ({'classes': ('circle', 'dog')}, 'dog.*circle, square.*or ade'),
        ({'classes': ('coco',)}, 'or ade'),
        ({'classes': ('circle', 'circle')}, 'different'),
        ({'classes': ()}, 'one or more'),
    ],
)
def test_wrong_settings_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(MiniatureError, match=message):
        MiniatureAdeSettings(**arguments)


def test_the_tool(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess:
        tool = REPOSITORY / 'tools' / 'make_miniature_ade.py'
        return subprocess.run([sys.executable, tool, *arguments], capture_output=True, text=True)

    target = str(tmp_path / 'mini')
    options = ('--train', '2', '--val', '1', '--size', '48', '--seed', '5', '--classes', 'star', 'hexagon')
    made = run(target, *options)
    assert made.returncode == 0, made.stderr
    assert '3/3 images' in made.stdout and 'from 1: ground, star, hexagon' in made.stdout
    assert is_complete(target, MiniatureAdeSettings(2, 1, 48, 5, ('star', 'hexagon')))
    again = run(target, *options)
    assert again.returncode == 1 and again.stderr.startswith('error: ') and '--force' in again.stderr
    assert run(target, *options, '--force').returncode == 0
    assert 'dog' in run(str(tmp_path / 'other'), '--classes', 'dog').stderr
