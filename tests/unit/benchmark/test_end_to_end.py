"""End to end: the recipes with either backbone, what is timed, what must agree, and whole runs on tiny networks."""

import importlib
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.visualization import Visualizer
from torch import nn

from mmswin.benchmark import agreement, end_to_end, end_to_end_report, recipes
from mmswin.benchmark.end_to_end import RunResult, Turn
from mmswin.benchmark.measure_hook import BackboneTimer
from mmswin.benchmark.recipes import Options
from mmswin.errors import RunError

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
DETECTION = CONFIGS / 'cascade_mask_rcnn_swin_t_coco.py'
SEGMENTATION = CONFIGS / 'upernet_swin_t_ade20k.py'


@pytest.mark.parametrize('path, library', [(DETECTION, 'mmdet'), (SEGMENTATION, 'mmseg')])
def test_only_the_backbones_type_changes_and_what_must(path, library):
    cfg = recipes.read(path)
    ours, theirs = (recipes.prepare(cfg, side, 'training', Options(), None) for side in ('mmswin-sdpa', library))
    mine, stock = dict(ours.model.pop('backbone')), dict(theirs.model.pop('backbone'))
    assert ours.to_dict() == theirs.to_dict()
    assert mine == {
        'type': 'mmswin.SwinTransformer',
        'arch': 'tiny',
        'attn_backend': 'sdpa',
        'init_cfg': None,
        'drop_path_rate': cfg.model.backbone.drop_path_rate,
    }
    assert stock == {
        'type': f'{library}.SwinTransformer',
        'embed_dims': 96,
        'depths': (2, 2, 6, 2),
        'num_heads': (3, 6, 12, 24),
        'init_cfg': None,
        'drop_path_rate': cfg.model.backbone.drop_path_rate,
    }
    assert cfg.model.backbone.init_cfg is not None  # the recipe itself is as it was


def test_data_sizes_and_iterations_go_everywhere(tmp_path):
    cfg = recipes.read(DETECTION)
    training = recipes.prepare(cfg, 'mmdet', 'training', Options(2, 3, 1, 0.5, 0), tmp_path)
    steps = training.train_dataloader.dataset.pipeline
    assert (240, 666) in [tuple(size) for size in steps[3].transforms[0][0].scales]
    assert tuple(steps[3].transforms[1][1].crop_size) == (192, 300)
    assert training.train_dataloader.dataset.data_root == f'{tmp_path}/'
    assert training.test_evaluator.ann_file == f'{tmp_path}/annotations/instances_val2017.json'
    assert (training.train_dataloader.batch_size, training.train_dataloader.num_workers) == (1, 0)
    assert training.train_cfg.max_iters == 5 and training.val_dataloader is None
    testing = recipes.prepare(recipes.read(SEGMENTATION), 'mmseg', 'testing', Options(1, 3, None, 0.25), tmp_path)
    assert testing.test_dataloader.dataset.indices == 4
    assert tuple(testing.model.data_preprocessor['size']) == (128, 128)


@pytest.mark.parametrize('arguments, message', [
    (dict(modes=['train']), "mode 'train' is unknown; choose from training, testing"),
    (dict(backends=['cuda']), "backend 'cuda' is unknown; choose from auto, "),
    (dict(configs=[DETECTION, SEGMENTATION], data_root=CONFIGS), '--data-root is for one config'),
    (dict(data_root=CONFIGS / 'nowhere'), 'nowhere is no directory'),
    (dict(configs=[CONFIGS / 'mask_rcnn.py']), 'mask_rcnn.py does not exist'),
    (dict(configs=[CONFIGS / 'cascade_mask_rcnn_r50_coco.py']), "has the backbone 'ResNet'; give one with mmswin"),
    (dict(settings=end_to_end.Settings(options=Options(iterations=0))), '--iterations 0: give 1 or more'),
    (dict(settings=end_to_end.Settings(options=Options(image_scale=0))), '--image-scale 0: give a factor above 0'),
    (dict(settings=end_to_end.Settings(allocators=('jemalloc',))), "allocator 'jemalloc' is unknown"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_first(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    order = {'configs': [DETECTION], 'modes': ['training'], 'backends': ['auto'], 'settings': end_to_end.Settings()}
    with pytest.raises(RunError, match=message):
        end_to_end.run(**{**order, **arguments})
    assert not any(tmp_path.iterdir())


class _Slow(nn.Module):
    """Two layers around what takes known time in forward and in backward."""

    def __init__(self, clock):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self._clock = clock

    def forward(self, x):
        y = self.first(x)
        self._clock[0] += 5.0
        y.register_hook(lambda gradient: self._clock.__setitem__(0, self._clock[0] + 7.0))
        return (self.second(y), y)


def test_forward_and_backward_are_those_of_the_backbone_alone(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr('mmswin.benchmark.measure_hook.time.perf_counter', lambda: clock[0])
    backbone, head = _Slow(clock), nn.Linear(3, 1)
    timer = BackboneTimer(backbone, torch.device('cpu'))
    for _ in range(2):
        deep, early = backbone(torch.randn(4, 3))
        y = head(deep) + head(early)
        y.register_hook(lambda gradient: clock.__setitem__(0, clock[0] + 100.0))
        clock[0] += 1000.0
        y.sum().backward()
        timer.close()
    assert timer.shapes == [(4, 3)] * 2
    assert timer.take() == (10.0, 14.0)
    assert timer.take() == (0, 0)


def _observed(**changes):
    torch.manual_seed(0)
    maps = [torch.randn(1, 3, 8, 8)]
    return {'maps': maps, 'losses': {'loss': 3.0, 'loss_box': 0.001}, **changes}


def test_what_agrees_and_what_does_not():
    right = _observed()
    assert agreement.disagreement(_observed(), right, 'float32') is None
    assert agreement.disagreement(_observed(losses={'loss': 3.0, 'loss_box': 0.0011}), right, 'float32') is None
    assert 'map 0 differs by' in agreement.disagreement(_observed(maps=[right['maps'][0] * 1.001]), right, 'float32')
    assert agreement.disagreement(_observed(maps=[right['maps'][0] * 1.001]), right, 'mixed') is None
    wrong = agreement.disagreement(_observed(losses={'loss': 3.2, 'loss_box': 0.001}), right, 'float32')
    assert wrong == 'loss is 3.2 and not 3'
    assert 'nan' in agreement.disagreement(_observed(losses={'loss': float('nan'), 'loss_box': 0.0}), right, 'float32')
    assert 'the losses are' in agreement.disagreement(_observed(losses={'loss': 3.0}), right, 'float32')


def test_predictions_agree_box_by_box_and_pixel_by_pixel():
    boxes = {
        'bboxes': torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]]),
        'labels': torch.tensor([1, 2]),
        'scores': torch.tensor([0.9, 0.3]),
    }
    turned = {name: value.flip(0) for name, value in boxes.items()}
    assert agreement.agreeing([turned], [boxes]) == 1
    assert agreement.agreeing([boxes | {'labels': torch.tensor([1, 3])}], [boxes]) == 0.5
    assert agreement.agreeing([boxes | {'scores': torch.tensor([0.9, 0.5])}], [boxes]) == 0.5
    fewer = {name: value[:1] for name, value in boxes.items()}
    assert agreement.agreeing([fewer], [boxes]) == agreement.agreeing([boxes], [fewer]) == 0.5
    nothing = {name: value[:0] for name, value in boxes.items()}
    assert agreement.agreeing([nothing], [boxes]) == 0
    assert agreement.agreeing([nothing], [nothing]) == 1
    labels = torch.arange(8).reshape(1, 2, 4)
    assert agreement.agreeing([{'map': labels}], [{'map': labels.clamp(max=5)}]) == 0.75


def _result():
    turn = dict(images=4, waiting=1.0, peak_bytes=2 * 10**9, loading=0.1, shapes=['2x3x800x1088'] * 2)
    sides = {
        'mmdet': [Turn(seconds=40.0, forward=8.0, backward=12.0, **turn)],
        'mmswin-auto': [Turn(seconds=30.0, forward=4.0, backward=6.0, **turn)],
    }
    return RunResult('a_recipe', 'training', 'default', 'mmdet', sides)


def test_the_table_says_what_a_faster_backbone_gives(tmp_path):
    result = RunResult.from_dict(json.loads(json.dumps(_result().as_dict())))
    assert result == _result()
    lines = end_to_end_report.table(result).splitlines()
    assert lines[4].startswith('| mmswin-auto | 0.133 (0.133 to 0.133) | 1.33 (1.33 to 1.33) | 33% | 1 s | 1.5 s | ')
    assert lines[5].startswith('| mmdet | 0.1 (0.1 to 0.1) | 1 | 50% |')
    assert 'no backbone can make this run more than 2.00 times faster' in lines[-1]
    assert sum(end_to_end_report.parts(result.sides['mmdet'][0]).values()) == pytest.approx(10.0)
    end_to_end_report.plot({'results': [result.as_dict()]}, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 5000


def _here(module, order, name, folder, environment):
    """A turn in this process: what it imports is there already."""
    for library in ('mmdet', 'mmseg'):  # a visualizer of an earlier run would write where that was
        for kind in vars(importlib.import_module(f'{library}.visualization')).values():
            if isinstance(kind, type) and issubclass(kind, Visualizer):
                kind._instance_dict.clear()
    importlib.import_module(module).run(order)
    return json.loads((folder / 'result.json').read_text())


def _miniature(kind, root):
    if kind == 'coco':
        from mmswin.data.miniature import MiniatureSettings, make_miniature_coco

        return make_miniature_coco(root, MiniatureSettings(num_train=12, num_val=16))
    from mmswin.data.miniature_ade import MiniatureAdeSettings, make_miniature_ade

    return make_miniature_ade(root, MiniatureAdeSettings(num_train=12, num_val=4))


@pytest.mark.slow
@pytest.mark.parametrize('kind, config, mode', [
    ('coco', 'demo_cascade_mask_rcnn_swin_t_miniature.py', 'testing'),
    ('ade', 'demo_upernet_swin_t_miniature.py', 'training'),
])  # fmt: skip
def test_a_run_of_both_sides(tmp_path, monkeypatch, kind, config, mode):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(end_to_end, 'ask', _here)
    root = _miniature(kind, tmp_path / 'data')
    settings = end_to_end.Settings(1, 1, ('default',), Options(1, 1, 2, 1.0, 0))
    values = end_to_end.run([CONFIGS / config], [mode], ['sdpa'], settings, root)
    (result,) = values['results']
    library = {'coco': 'mmdet', 'ade': 'mmseg'}[kind]
    assert list(result['sides']) == [library, 'mmswin-sdpa']
    for side in result['sides'].values():
        (turn,) = side['turns']
        assert turn['images'] == {'testing': 8, 'training': 2}[mode]
        assert 0 < turn['forward'] + turn['backward'] < turn['seconds']
        assert (turn['backward'] > 0) == (mode == 'training')
        assert turn['loading'] > 0 and turn['waiting'] >= 0
    assert 'losses or predictions' in end_to_end_report.document(values)


def test_sides_that_compute_something_else_are_refused(tmp_path, monkeypatch):
    def ask(module, order, name, folder, environment):
        side = Path(order['config']).stem
        assert Path(order['checkpoint']).stem == ('mmseg' if side == 'mmseg' else 'mmswin')
        torch.save(_observed(losses={'loss': 3.0 if side == 'mmseg' else 4.0}), folder / f'{side}.observation')
        return dict(images=1, seconds=1.0, waiting=0.0, forward=0.1, backward=0.1, peak_bytes=1, loading=0.1, shapes=[])

    monkeypatch.setattr(end_to_end, 'ask', ask)
    runs = {side: tmp_path / f'{side}.py' for side in ('mmseg', 'mmswin-sdpa')}
    for path in runs.values():
        path.write_text("optim_wrapper = dict(type='OptimWrapper')")
    files = {'mmseg': Path('mmseg.pth'), 'mmswin': Path('mmswin.pth')}
    with pytest.raises(end_to_end.SideFailed, match='does not compute what it does with that of mmseg: loss is 4 and'):
        end_to_end._measure(
            RunResult('a_recipe', 'training', 'default', 'mmseg'), runs, files, end_to_end.Settings(), tmp_path, print
        )


def test_configs_are_written_and_read_back(tmp_path):
    cfg = recipes.prepare(recipes.read(SEGMENTATION), 'mmseg', 'training', Options(), None)
    cfg.dump(tmp_path / 'cfg.py')
    assert Config.fromfile(tmp_path / 'cfg.py').to_dict() == cfg.to_dict()
