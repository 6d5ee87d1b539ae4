"""Bad input: one line that names the value and the remedy, status 2, and nothing created or changed."""

import json
from pathlib import Path

import pytest
import torch

from mmswin import cli


@pytest.fixture
def tool(workplace, monkeypatch, capsys):
    """Calls a command in this process: all faults here are found before a Runner exists."""
    monkeypatch.chdir(workplace.directory)

    def call(name: str, *arguments: object) -> tuple[int, str]:
        before = workplace.files()
        directories = {p for p in workplace.directory.rglob('*') if p.is_dir()}
        status = cli.main([name, *map(str, arguments)])
        assert workplace.files() == before, 'a refused run changed files'
        assert {p for p in workplace.directory.rglob('*') if p.is_dir()} == directories
        errors = capsys.readouterr().err
        lines = [line for line in errors.splitlines() if line.startswith('error: ')]
        assert len(lines) == 1, errors
        assert 'Traceback' not in errors
        return status, lines[0]

    return call


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--cfg-options', 'model.backbone.window_sise=4'], ['model.backbone.window_size']),
        (['--cfg-options', 'train_dataloader.dataset.data_root=nowhere/'], ["'nowhere/'", 'train.json']),
        (['--cfg-options', 'train_dataloader.dataset.ann_file=annotations/none.json'], ['none.json']),
        (['--cfg-options', 'model.bbox_head.num_classes=80'], ['80', '2', 'num_classes']),
        (['--cfg-options', 'model.backbone.window_size=0'], ['window_size=0']),
        (['--cfg-options', 'model.backbone.num_heads=3,3,3,3'], ['num_heads', '3']),
        (['--cfg-options', 'model.backbone.depths=1,1'], ['depths']),
        (['--cfg-options', 'model.backbone.type=mmswin.SwinTransfomer'], ['mmswin.SwinTransfomer']),
        (['--cfg-options', '+model.backbone.colour=red'], ['colour']),
        (['--load-from', 'gone.pth'], ['gone.pth', 'does not exist']),
        (['--load-from', 'tiny_detection.py'], ['tiny_detection.py']),
        (['--resume'], ['holds no checkpoint', '--work-dir']),
        (['--resume', 'gone.pth'], ['gone.pth']),
        (['--resume', '--load-from', 'x.pth'], ['--resume', '--load-from']),
        (['--trust-checkpoint'], ['--resume or --load-from, and none is given']),
        (['--amp', 'fp16'], ['GPU', '--amp bf16']),
        (['--launcher', 'pytorch'], ['dist_train.sh']),
        (['--launcher', 'slurm'], ['dist_train.sh']),
        (
            [
                '--cfg-options',
                '+model.backbone.init_cfg.type=Pretrained',
                '+model.backbone.init_cfg.checkpoint=gone.pth',
            ],
            ['gone.pth', 'does not exist'],
        ),
    ],
    ids=lambda value: '-'.join(value)[:60] if isinstance(value[0], str) and value[0].startswith('--') else '',
)
def test_training_is_refused(tool, monkeypatch, arguments, said):
    monkeypatch.setattr('mmswin.engine.configure.has_accelerator', lambda: False)
    monkeypatch.setattr('mmswin.engine.precision.has_accelerator', lambda: False)
    status, error = tool('train', 'tiny_detection.py', '--work-dir', 'new', *arguments)
    assert status == 2
    for text in said:
        assert text in error


def test_config_that_does_not_exist_or_parse(tool, workplace):
    assert 'gone.py does not exist' in tool('train', 'gone.py')[1]
    (workplace.directory / 'broken.py').write_text('model = dict(\n')
    assert 'broken.py cannot be read' in tool('train', 'broken.py')[1]


def test_truncated_annotations_are_named(tool, workplace):
    path = workplace.data / 'annotations' / 'train.json'
    path.write_text(path.read_text()[:200])
    status, error = tool('train', 'tiny_detection.py')
    assert status == 2
    assert 'train.json' in error


def test_missing_image_is_named(tool, workplace):
    (workplace.data / 'train' / f'{3:012}.png').unlink()
    status, error = tool('train', 'tiny_detection.py')
    assert status == 2
    assert f'{3:012}.png' in error


def test_no_usable_image(tool, workplace):
    path = workplace.data / 'annotations' / 'train.json'
    content = json.loads(path.read_text())
    content['annotations'] = []
    path.write_text(json.dumps(content))
    status, error = tool(
        'train', 'tiny_detection.py', '--cfg-options', 'train_dataloader.dataset.filter_cfg.filter_empty_gt=True'
    )
    assert status == 2
    assert 'train.json' in error


def test_work_dir_of_an_earlier_run_is_not_written_over(tool, workplace):
    work_dir = workplace.directory / 'w'
    work_dir.mkdir()
    (work_dir / 'epoch_1.pth').write_bytes(b'precious')
    status, error = tool('train', 'tiny_detection.py', '--work-dir', 'w')
    assert status == 2
    for text in ('w holds the checkpoints', '--resume', '--work-dir', '--overwrite'):
        assert text in error


def test_checkpoints_that_cannot_be_tested(tool, workplace):
    torch.save({'state_dict': {'backbone.conv1.weight': torch.zeros(3), 'fc.bias': torch.zeros(3)}}, 'other.pth')
    status, error = tool('test', 'tiny_detection.py', 'other.pth')
    assert status == 2
    assert 'other.pth' in error
    content = Path('other.pth').read_bytes()
    Path('cut.pth').write_bytes(content[: len(content) // 2])
    assert 'cut.pth' in tool('test', 'tiny_detection.py', 'cut.pth')[1]
    assert 'gone.pth' in tool('test', 'tiny_detection.py', 'gone.pth')[1]
    torch.save({'state_dict': {}, 'args': Path('x')}, 'more.pth')
    error = tool('test', 'tiny_detection.py', 'more.pth')[1]
    assert 'PosixPath, which is not among the safe ones, and was not opened' in error
    assert error.endswith('Or add --trust-checkpoint, which runs what is in it')


def test_outputs_that_exist_or_have_the_wrong_name(tool, workplace):
    Path('kept').mkdir()
    Path('kept/picture.png').touch()
    assert '.pkl' in tool('test', 'tiny_detection.py', 'x.pth', '--out', 'p.json')[1]
    assert 'kept exists and is not empty' in tool('test', 'tiny_detection.py', 'x.pth', '--show-dir', 'kept')[1]
