"""No config that mmdet or mmseg ship is refused over sound data in its layout: every one that names a Swin, and others."""

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmswin.data.checks import inspect_config
from mmswin.data.config_facts import leaf_datasets, registered_class

OTHERS = {
    'mmdet': (
        'mask2former/mask2former_r50_8xb2-lsj-50e_coco', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic',
        'maskformer/maskformer_r50_ms-16xb1-75e_coco', 'dino/dino-4scale_r50_8xb2-12e_coco',
        'ddq/ddq-detr-4scale_r50_8xb2-12e_coco', 'rtmdet/rtmdet_s_8xb32-300e_coco',
        'rtmdet/rtmdet-ins_s_8xb32-300e_coco', 'htc/htc_r50_fpn_1x_coco', 'scnet/scnet_r50_fpn_1x_coco',
        'queryinst/queryinst_r50_fpn_1x_coco', 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco',
        'simple_copy_paste/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-scp-90k_coco',
        'lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1', 'objects365/faster-rcnn_r50_fpn_16xb4-1x_objects365v1',
        'objects365/retinanet_r50_fpn_1x_objects365v2', 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco',
        'deformable_detr/deformable-detr_r50_16xb2-50e_coco', 'yolox/yolox_s_8xb8-300e_coco',
        'cityscapes/mask-rcnn_r50_fpn_1x_cityscapes', 'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco',
        'pascal_voc/faster-rcnn_r50_fpn_1x_voc0712', 'openimages/faster-rcnn_r50_fpn_32xb2-1x_openimages',
        'crowddet/crowddet-rcnn_r50_8xb2-30e_crowdhuman', 'deepfashion/mask-rcnn_r50_fpn_15e_deepfashion',
        'solo/solo_r50_fpn_1x_coco', 'yolact/yolact_r50_1xb8-55e_coco', 'seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1',
        'wider_face/ssd300_8xb32-24e_widerface', 'detectors/htc_r50-sac_1x_coco', 'retinanet/retinanet_r50_fpn_1x_coco',
    ),
    'mmseg': (
        'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512', 'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024',
        'ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024', 'ocrnet/ocrnet_hr18_4xb4-20k_voc12aug-512x512',
        'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_loveda-512x512', 'hrnet/fcn_hr18_4xb4-80k_isaid-896x896',
        'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_potsdam-512x512', 'stdc/stdc1_4xb12-80k_cityscapes-512x1024',
        'pspnet/pspnet_r50-d8_4xb4-80k_pascal-context-59-480x480', 'pspnet/pspnet_r50-d8_4xb4-20k_coco-stuff10k-512x512',
        'bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024', 'unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64',
        'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512', 'encnet/encnet_r50-d8_4xb4-80k_ade20k-512x512',
    ),
}  # fmt: skip


def folder(library: str) -> Path:
    spec = find_spec(library)
    return Path(spec.origin).parent / '.mim' / 'configs' if spec and spec.origin else Path('nowhere')


def shipped() -> list[tuple[str, str]]:
    found = []
    for library, others in OTHERS.items():
        names = {str(path.relative_to(folder(library)).with_suffix('')) for path in folder(library).glob('*/*swin*.py')}
        names |= {name for name in others if (folder(library) / f'{name}.py').is_file()}
        found += [(library, name) for name in sorted(names)]
    return found


def make_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        Image.new('RGB', (64, 64)).save(path)


def make_data(dataset: Any, scope: str, root: Path) -> None:
    """Two sound images in the layout that a dataset's configuration names, below ``root``."""
    root = root / (dataset.get('data_root') or '')
    dataset['data_root'] = str(root)
    ann_file = root / dataset['ann_file'] if dataset.get('ann_file') else None
    kind, _ = registered_class(dataset, scope)
    ancestors = {ancestor.__name__ for ancestor in kind.__mro__}
    classes = (dataset.get('metainfo') or {}).get('classes') or (kind.METAINFO or {}).get('classes') or ('thing',)
    if 'V3DetDataset' in ancestors:
        classes = [f'class {i}' for i in range(13204)]
        names = root / 'annotations' / 'category_name_13204_v3det_2023_v1.txt'
        names.parent.mkdir(parents=True, exist_ok=True)
        names.write_text('\n'.join(classes))
    places = {key: root / place for key, place in (dataset.get('data_prefix') or {}).items()}
    for key, place in places.items():
        # mmdet's instance configs of Mask2Former inherit a directory that nothing in them reads.
        if key != 'seg' or any(
            step.get('with_seg') for step in dataset.get('pipeline') or () if isinstance(step, Mapping)
        ):
            place.mkdir(parents=True, exist_ok=True)
    if ann_file:
        ann_file.parent.mkdir(parents=True, exist_ok=True)
    if dataset.get('label_map_file'):  # ODVGDataset reads it when it is built
        names = root / dataset['label_map_file']
        names.parent.mkdir(parents=True, exist_ok=True)
        names.write_text(json.dumps(dict(enumerate(classes))))
    if 'CocoDataset' in ancestors:
        images, annotations = [], []
        for number in (1, 2):
            images.append({'id': number, 'file_name': f'{number}.jpg', 'width': 64, 'height': 64})
            images[-1]['coco_url'] = f'http://images.cocodataset.org/train2017/{number}.jpg'
            images[-1] |= {'neg_category_ids': [], 'not_exhaustive_category_ids': []}
            box = {'bbox': [8, 8, 40, 40], 'area': 1600, 'iscrowd': 0, 'segmentation': [[8, 8, 48, 8, 48, 48]]}
            annotations.append({**box, 'id': number, 'image_id': number, 'category_id': number})
            for name in (f'{number}.jpg', f'train2017/{number}.jpg'):
                make_picture(places['img'] / name)
            if 'CocoPanopticDataset' not in ancestors and 'seg' in places and places['seg'].is_dir():
                Image.new('L', (64, 64)).save(places['seg'] / f'{number}.png')
        categories = [{'id': i + 1, 'name': name, 'supercategory': ''} for i, name in enumerate(classes)]
        content = {'images': images, 'annotations': annotations, 'categories': categories}
        ann_file.write_text(json.dumps(content))
    elif 'BaseSegDataset' in ancestors:
        from mmswin.data.config_facts import default_arguments

        usual = default_arguments(kind)
        suffix, map_suffix = (dataset.get(name) or usual.get(name) for name in ('img_suffix', 'seg_map_suffix'))
        make_picture(places['img_path'] / f'a{suffix}')
        if 'seg_map_path' in places:
            Image.fromarray(np.full((64, 64), 1, np.uint8)).save(places['seg_map_path'] / f'a{map_suffix}')
        if ann_file:
            ann_file.write_text('a\n')
    elif ann_file:
        ann_file.write_text('')


@pytest.mark.parametrize(('library', 'name'), shipped())
def test_sound_data_are_not_refused(library: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(folder(library) / f'{name}.py')
    for split in ('train', 'val'):
        loader = cfg.get(f'{split}_dataloader')
        for _, dataset in leaf_datasets(loader.get('dataset') if loader else {}, ''):
            if dataset:
                make_data(dataset, cfg.default_scope, tmp_path)
        evaluators = cfg.get(f'{split}_evaluator') or []
        for evaluator in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
            if isinstance(evaluator.get('ann_file'), str):
                evaluator['ann_file'] = os.path.join(tmp_path, evaluator['ann_file'])
                if not os.path.exists(evaluator['ann_file']):  # a panoptic data set has a file of instances too
                    Path(evaluator['ann_file']).write_text('{}')
    errors = [str(finding) for finding in inspect_config(cfg).findings if finding.level == 'error']
    assert errors == []
