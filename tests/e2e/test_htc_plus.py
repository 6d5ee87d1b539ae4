"""HTC++ with and without its semantic branch trains, resumes, is tested and predicts through the tools, on a miniature
COCO with label maps, in float32 and bfloat16.
"""

from pathlib import Path

import pytest
from models import htc

from mmswin.checkpoints import load_file
from mmswin.data.miniature import MiniatureSettings, make_miniature

CONFIG = """
_base_ = {base!r}
model = dict(_delete_=True, **{model!r})
data = dict(data_root={data!r} + '/', metainfo=dict(classes=('circle', 'square', 'triangle', 'star', 'cross')))
resize = dict(type='Resize', scale=(64, 64), keep_ratio=True)
train_pipeline = [resize if step.type == 'RandomResize' else step for step in _base_.train_pipeline]
test_pipeline = [resize if step.type == 'Resize' else step for step in _base_.test_pipeline]
scales = [dict(resize, scale=(side, side)) for side in (48, 64)]
tta_pipeline = [_base_.tta_pipeline[0], dict(_base_.tta_pipeline[1], transforms=[scales, *_base_.tta_pipeline[1].transforms[1:]])]
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(data, pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={data!r} + '/annotations/instances_val2017.json')
test_evaluator = val_evaluator
"""
ONE_EPOCH = ('train_cfg.max_epochs=1', 'default_hooks.logger.interval=1')


@pytest.mark.parametrize('semantic', [True, False])
def test_trains_resumes_is_tested_and_predicts(workplace, semantic: bool) -> None:
    data = make_miniature('COCO', workplace.directory / 'coco', MiniatureSettings(4, 2, 64))
    shipped = Path(__file__).parents[2] / 'configs' / f'htc_plus_{"" if semantic else "no_semantic_"}swin_b_coco.py'
    config = workplace.directory / 'htc.py'
    values = {'base': str(shipped), 'model': htc(5, semantic), 'data': str(data)}
    text = CONFIG
    for name, value in values.items():
        text = text.replace(f'{{{name}!r}}', repr(value))
    config.write_text(text)

    def call(*command: object) -> str:
        finished = workplace.call(*command, warm=True)
        assert finished.status == 0, finished.output
        return finished.output

    trained = call('train.py', config, '--work-dir', 'w', '--amp', 'bf16', '--cfg-options', *ONE_EPOCH)
    assert 'bfloat16 autocast' in trained and 's1.loss_mask: ' in trained and 'coco/segm_mAP' in trained
    assert ('loss_semantic_seg: ' in trained) == semantic
    resumed = call('train.py', config, '--work-dir', 'w', '--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    assert 'resumed after iteration 2' in resumed
    checkpoint = workplace.directory / 'w' / 'epoch_2.pth'
    assert load_file(checkpoint)['meta']['iter'] == 4
    tested = call('test.py', config, checkpoint, '--work-dir', 't', '--amp', '--tta')
    assert 'coco/segm_mAP' in tested and '4 views' in tested
    call('predict.py', config, checkpoint, data / 'val2017', '--out', 'found')
    assert len(list((workplace.directory / 'found').glob('*.jpg'))) == 2
