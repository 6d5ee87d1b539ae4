"""RepPoints V2 with and without masks trains, resumes, is tested and predicts through the tools, in float32 and bfloat16."""

import json
from pathlib import Path

import pytest
from models import mask_reppointsv2, reppointsv2

from mmswin.checkpoints import load_file

ONE_EPOCH = ('train_cfg.max_epochs=1', 'train_cfg.val_interval=1')
MASKS = """
train_pipeline[1]['with_mask'] = test_pipeline[2]['with_mask'] = True
val_evaluator['metric'] = ['bbox', 'segm']
"""


def add_masks(annotations: Path) -> None:
    """Every object fills its box."""
    found = json.loads(annotations.read_text())
    for one in found['annotations']:
        x, y, width, height = one['bbox']
        one['segmentation'] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    annotations.write_text(json.dumps(found))


@pytest.mark.parametrize('masks', [False, True])
def test_trains_resumes_is_tested_and_predicts(workplace, masks: bool) -> None:
    model = mask_reppointsv2() if masks else reppointsv2()
    config = workplace.directory / 'reppoints.py'
    text = workplace.detection.read_text() + f'model = {model!r}\n'
    if masks:
        text += MASKS
        for split in ('train', 'val'):
            add_masks(workplace.data / 'annotations' / f'{split}.json')
    config.write_text(text)
    trained = workplace.call('train.py', config, '--work-dir', 'w', '--amp', 'bf16', '--cfg-options', *ONE_EPOCH)
    assert trained.status == 0 and 'bfloat16 autocast' in trained.output, trained.output
    assert 'coco/bbox_mAP' in trained.output and ('coco/segm_mAP' in trained.output) == masks
    for loss in ('loss_corner', 'loss_foreground', *(('loss_mask', 'loss_mask_auxiliary') if masks else ())):
        assert f'{loss}: ' in trained.output
    resumed = workplace.call(
        'train.py', config, '--work-dir', 'w', '--resume', '--cfg-options', 'train_cfg.max_epochs=2'
    )
    assert resumed.status == 0 and 'resumed after iteration 4' in resumed.output, resumed.output
    checkpoint = workplace.directory / 'w' / 'epoch_2.pth'
    assert load_file(checkpoint)['meta']['iter'] == 8
    for options in ((), ('--amp',)):
        tested = workplace.call('test.py', config, checkpoint, '--work-dir', 't', *options)
        assert tested.status == 0 and ('coco/segm_mAP' in tested.output) == masks, tested.output
    values = ('--score', '0', '--save-json')
    predicted = workplace.call('predict.py', config, checkpoint, workplace.data / 'val', '--out', 'found', *values)
    assert predicted.status == 0, predicted.output
    found = json.loads((workplace.directory / 'found' / 'predictions.json').read_text())['annotations']
    assert found and all(('segmentation' in one) == masks for one in found)
