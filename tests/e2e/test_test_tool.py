"""tools/test.py as a user calls it: predictions go to a file, pictures to a directory, TTA tests boxes."""

import pickle

import pytest

TRAINED = ('--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=9')


def test_predictions_and_pictures_are_written_and_not_overwritten(workplace):
    trained = workplace.call('train.py', workplace.detection, '--work-dir', 'w', '--auto-scale-lr', *TRAINED)
    assert trained.status == 0, trained.output
    # The banner of a recipe's config on one CPU.
    for text in (
        'RetinaNet, backbone mmswin.SwinTransformer',
        'CocoDataset: 8 images, 2 classes',
        'CPU, 1 process',
        '1 x 2 = 2 images, learning rate 1.25e-05 (auto_scale_lr: 0.0001 x 2 / 16)',
        'float32 (no GPU',
        'the config has SyncBN; in one process that is BN',
        'random weights',
    ):
        assert text in trained.output
    test = ('test.py', workplace.detection, 'w/epoch_1.pth', '--work-dir', 'w', '--out', 'p.pkl', '--show-dir', 'shown')
    done = workplace.call(*test)
    assert done.status == 0, done.output
    assert 'coco/bbox_mAP' in done.output
    predictions = pickle.loads((workplace.directory / 'p.pkl').read_bytes())
    assert sorted(p['img_id'] for p in predictions) == [1, 2, 3]
    assert all(len(p['pred_instances']['scores']) for p in predictions)
    pictures = sorted((workplace.directory / 'shown').iterdir())
    assert [p.name for p in pictures] == [f'{index:012}.png' for index in (1, 2, 3)]

    before = workplace.files()
    again = workplace.call(*test)
    assert again.status == 2
    assert again.output.strip() == 'error: --out p.pkl exists; choose another name or add --overwrite'
    assert workplace.files() == before


@pytest.mark.slow
def test_tta_and_segmentation(workplace):
    trained = workplace.call('train.py', workplace.detection, '--work-dir', 'w', *TRAINED)
    assert trained.status == 0, trained.output
    done = workplace.call('test.py', workplace.detection, 'w/epoch_1.pth', '--work-dir', 'w', '--tta')
    assert done.status == 0, done.output
    assert 'coco/bbox_mAP' in done.output
    assert '--tta: 2 views of each of 3 images' in done.output

    trained = workplace.call(
        'train.py', workplace.segmentation, '--work-dir', 's', '--cfg-options', 'train_cfg.max_iters=2'
    )
    assert trained.status == 0, trained.output
    done = workplace.call(
        'test.py', workplace.segmentation, 's/iter_2.pth', '--work-dir', 's', '--out', 's.pkl', '--show-dir', 'shown'
    )
    assert done.status == 0, done.output
    assert 'mIoU' in done.output
    assert len(pickle.loads((workplace.directory / 's.pkl').read_bytes())) == 8
    assert len(list((workplace.directory / 'shown').rglob('*.png'))) == 8
