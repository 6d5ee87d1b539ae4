"""What test.py adds to a config: TTA with a default, refusal of masks that cannot be merged, pictures where they are
wanted.
"""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData
from models import retinanet

from mmswin.engine.configure import replace_sync_norm
from mmswin.engine.preflight import build_model
from mmswin.engine.testing import check_outputs, enable_tta, predict_in, show_into, tta_note
from mmswin.errors import RunError


def detection(**model) -> Config:
    pipeline = [
        {'type': 'LoadImageFromFile'},
        {'type': 'Resize', 'scale': (64, 64)},
        {'type': 'PackDetInputs', 'meta_keys': ('img_id', 'scale_factor')},
    ]
    return Config(
        {
            'default_scope': 'mmdet',
            'model': {'type': 'RetinaNet', **model},
            'test_dataloader': {'dataset': {'type': 'Repeat', 'dataset': {'pipeline': pipeline}}},
            'test_evaluator': {'metric': 'bbox'},
            'default_hooks': {'visualization': {'type': 'DetVisualizationHook'}},
        }
    )


def test_boxes_get_a_flip_and_nms_by_default():
    cfg = detection()
    enable_tta(cfg)
    assert cfg.model.type == 'mmswin.InstanceTTAModel'
    assert cfg.model.tta_cfg == {'nms': {'type': 'nms', 'iou_threshold': 0.5}, 'max_per_img': 100}
    assert cfg.model.module.type == 'RetinaNet'
    *steps, views = cfg.test_dataloader.dataset.dataset.pipeline
    assert [step.type for step in steps] == ['LoadImageFromFile', 'Resize']
    assert [view.prob for view in views.transforms[0]] == [1.0, 0.0]
    pack = views.transforms[1][0]
    assert pack.type == 'PackDetInputs'
    assert {'img_id', 'scale_factor', 'flip', 'flip_direction'} == set(pack.meta_keys)


def test_each_of_several_data_sets_gets_the_views():
    cfg = detection()
    several = [copy.deepcopy(cfg.test_dataloader.dataset) for _ in range(2)]
    cfg.test_dataloader.dataset = {'type': 'ConcatDataset', 'datasets': several}
    enable_tta(cfg)
    found = [one.dataset.pipeline[-1].type for one in cfg.test_dataloader.dataset.datasets]
    assert found == ['TestTimeAug', 'TestTimeAug']


def test_the_number_of_views_is_said():
    cfg = detection()
    enable_tta(cfg)
    assert tta_note(cfg, 5000) == '--tta: 2 views of each of 5000 images'
    cfg.tta_pipeline = [
        {'type': 'LoadImageFromFile'},
        {
            'type': 'TestTimeAug',
            'transforms': [[{'type': 'Resize'}] * 3, [{'type': 'RandomFlip'}] * 2, [{'type': 'PackDetInputs'}]],
        },
    ]
    assert tta_note(cfg, 5000) == '--tta: 6 views of each of 5000 images'
    cfg.tta_pipeline[1]['transforms'][0] = [{'type': 'Resize', 'scale': scale} for scale in ((512, 128), (1024, 256))]
    assert tta_note(cfg, 5000) == '--tta: 4 views of each of 5000 images, the largest within 1024 x 256 pixels'


def test_own_tta_of_the_config_is_kept():
    cfg = detection()
    cfg.tta_model = {'type': 'MyTTA'}
    cfg.tta_pipeline = [{'type': 'Mine'}]
    enable_tta(cfg)
    assert cfg.model.type == 'MyTTA'
    assert [step.type for step in cfg.test_dataloader.dataset.dataset.pipeline] == ['Mine']


@pytest.mark.parametrize(
    'kind, head',
    [
        ('MaskRCNN', 'StandardRoIHead'),
        ('CascadeRCNN', 'CascadeRoIHead'),
        ('HybridTaskCascade', 'HybridTaskCascadeRoIHead'),
        ('mmdet.MaskRCNN', 'mmdet.StandardRoIHead'),
    ],
)
def test_masks_are_merged_by_the_detectors_own_rule(kind, head):
    rule = {'nms': {'type': 'nms', 'iou_threshold': 0.6}, 'max_per_img': 20, 'score_thr': 0.1}
    cfg = detection(type=kind, roi_head={'type': head, 'mask_head': {'type': 'FCNMaskHead'}}, test_cfg={'rcnn': rule})
    cfg.test_evaluator = [{'metric': ['bbox', 'segm']}]
    enable_tta(cfg)
    assert cfg.model.type == 'mmswin.InstanceTTAModel'
    assert cfg.model.tta_cfg == {'nms': {'type': 'nms', 'iou_threshold': 0.6}, 'max_per_img': 20}


def test_the_class_that_merges_boxes_alone_is_replaced():
    cfg = detection(type='MaskRCNN', roi_head={'type': 'StandardRoIHead', 'mask_head': {'type': 'FCNMaskHead'}})
    cfg.tta_model = {'type': 'DetTTAModel', 'tta_cfg': {'max_per_img': 7}}
    enable_tta(cfg)
    assert (cfg.model.type, cfg.model.tta_cfg) == ('mmswin.InstanceTTAModel', {'max_per_img': 7})


@pytest.mark.parametrize(
    'cfg',
    [
        detection(type='SCNet', roi_head={'type': 'SCNetRoIHead', 'mask_head': {'type': 'X'}}),
        detection(type='MaskRCNN', roi_head={'type': 'PointRendRoIHead', 'mask_head': {'type': 'X'}}),
        detection(type='MaskRCNN', roi_head={'type': 'NoSuchHead', 'mask_head': {'type': 'X'}}),
        detection(type='SOLO', mask_head={'type': 'SOLOHead'}),
        detection(panoptic_head={'type': 'X'}),
    ],
)
def test_masks_of_another_kind_are_refused(cfg):
    with pytest.raises(RunError, match='predicts masks in another way'):
        enable_tta(cfg)


def test_model_scored_on_masks_that_it_lacks_is_refused():
    cfg = detection()
    cfg.test_evaluator = [{'metric': ['bbox', 'segm']}]
    with pytest.raises(RunError, match='scored on masks, which it does not predict'):
        enable_tta(cfg)


def test_roi_head_whose_mask_head_is_none_has_no_masks():
    cfg = detection(roi_head={'mask_head': None})
    enable_tta(cfg)
    assert cfg.model.module.roi_head.mask_head is None


def test_segmentation_needs_its_own_tta():
    cfg = detection()
    cfg.default_scope = 'mmseg'
    with pytest.raises(RunError, match='no tta_model and no tta_pipeline'):
        enable_tta(cfg)
    cfg.default_scope = 'mmpretrain'
    with pytest.raises(RunError, match='no tta_model and no tta_pipeline'):
        enable_tta(cfg)


def test_figures_of_segmentation_are_named_apart():
    cfg = detection()
    cfg.merge_from_dict({'default_scope': 'mmseg', 'tta_model': {'type': 'SegTTAModel'}, 'tta_pipeline': []})
    cfg.test_evaluator = [{'type': 'IoUMetric'}, {'type': 'IoUMetric', 'prefix': 'mine'}]
    enable_tta(cfg)
    assert [metric.prefix for metric in cfg.test_evaluator] == ['tta', 'mine']


def test_pictures_go_where_they_were_asked_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cfg = detection()
    show_into(cfg, 'shown')
    assert cfg.default_hooks.visualization.draw is True
    assert cfg.default_hooks.visualization.test_out_dir == str(tmp_path / 'shown')
    cfg = Config({'default_scope': 'mmseg', 'visualizer': {}, 'default_hooks': {'visualization': {'interval': 50}}})
    show_into(cfg, 'shown')
    assert cfg.default_hooks.visualization.interval == 1
    assert cfg.visualizer.save_dir == str(tmp_path / 'shown')
    hook = {'type': 'VisualizationHook', 'enable': False, 'draw_gt': False}
    cfg = Config({'default_scope': 'mmpretrain', 'default_hooks': {'visualization': hook}})
    show_into(cfg, 'shown')
    expected = {'type': 'mmswin.ClassPicturesHook', 'draw_gt': False, 'out_dir': str(tmp_path / 'shown')}
    assert cfg.default_hooks.visualization == expected
    cfg.default_hooks.visualization = {'type': 'MyHook'}
    show_into(cfg, 'shown')
    assert (cfg.default_hooks.visualization.type, cfg.default_hooks.visualization.enable) == ('MyHook', True)
    with pytest.raises(RunError, match='default_hooks.visualization'):
        show_into(Config({'default_scope': 'mmdet'}), 'shown')


def test_existing_outputs_are_kept(tmp_path):
    out, shown = tmp_path / 'p.pkl', tmp_path / 'shown'
    shown.mkdir()
    check_outputs(str(out), str(shown), overwrite=False)
    out.touch()
    (shown / 'a.png').touch()
    with pytest.raises(RunError, match=r'p\.pkl exists'):
        check_outputs(str(out), None, overwrite=False)
    with pytest.raises(RunError, match='shown exists and is not empty'):
        check_outputs(None, str(shown), overwrite=False)
    check_outputs(str(out), str(shown), overwrite=True)
    with pytest.raises(RunError, match=r'\.pkl or \.pickle'):
        check_outputs(str(Path('p.txt')), None, overwrite=True)
    for outputs, option in (((str(out / 'q.pkl'), None), '--out'), ((None, str(out / 'shown')), '--show-dir')):
        with pytest.raises(RunError, match=f'{option} .*p.pkl is no directory'):
            check_outputs(*outputs, overwrite=True)


@pytest.mark.slow
def test_a_trained_detector_predicts_the_same_boxes_in_bfloat16():
    def image(seed: int) -> dict:
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 60, (3, 96, 96), generator=generator, dtype=torch.uint8)
        left, top = torch.randint(4, 48, (2,), generator=generator).tolist()
        pixels[:, top : top + 32, left : left + 32] = 220
        sample = DetDataSample(metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96), scale_factor=(1.0, 1.0)))
        boxes, labels = torch.tensor([[left, top, left + 32.0, top + 32]]), torch.tensor([0])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        return {'inputs': pixels, 'data_samples': sample}

    def batch(seeds: range) -> dict[str, list]:
        images = [image(seed) for seed in seeds]
        return {name: [one[name] for one in images] for name in ('inputs', 'data_samples')}

    torch.manual_seed(0)
    cfg = Config({'default_scope': 'mmdet', 'model': retinanet(num_classes=1)})
    replace_sync_norm(cfg)
    model = build_model(cfg)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=3e-3))
    for step in range(60):
        model.train_step(batch(range(4 * step, 4 * step + 4)), wrapper)
    model.eval()
    runner, seen = SimpleNamespace(model=model), range(1000, 1008)
    with torch.no_grad():
        plain = model.test_step(batch(seen))
        predict_in(runner, torch.bfloat16)
        low = runner.model.test_step(batch(seen))
    for first, second, true in zip(plain, low, batch(seen)['data_samples'], strict=True):
        found, again = first.pred_instances[:1], second.pred_instances[:1]
        assert bbox_overlaps(found.bboxes, true.gt_instances.bboxes) > 0.6
        assert again.bboxes.dtype == again.scores.dtype == torch.float32
        torch.testing.assert_close(again.bboxes, found.bboxes, rtol=0, atol=0.5)
        torch.testing.assert_close(again.scores, found.scores, rtol=0, atol=0.02)
    # Rounded they are, so that it was bfloat16 that was tried.
    assert any(
        not torch.equal(a.pred_instances.scores, b.pred_instances.scores) for a, b in zip(plain, low, strict=True)
    )
