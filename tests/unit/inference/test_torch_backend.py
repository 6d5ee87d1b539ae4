"""Models of mmdet and mmseg behind the predictor: the values are those of their own functions, with the files as they are."""

import cv2
import numpy as np
import pytest
import torch
from predictors import CLASSES, detection, segmentation, write

import mmswin
from mmswin.errors import CheckpointError, RunError


@pytest.fixture
def image() -> np.ndarray:
    return cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8), (110, 80))


@pytest.fixture
def file(image, tmp_path) -> str:
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    return str(tmp_path / 'image.png')


def same(found, theirs) -> None:
    order = np.argsort(-theirs.scores.numpy(), kind='stable')
    assert len(found) == len(theirs) > 0
    np.testing.assert_allclose(found.boxes, theirs.bboxes.numpy()[order], atol=1e-4)
    np.testing.assert_array_equal(found.labels, theirs.labels.numpy()[order])


def test_detections_are_mmdets(tmp_path, image, file):
    from mmdet.apis import DetInferencer, inference_detector, init_detector

    config, weights = write(tmp_path, detection(), dataset_meta={'classes': CLASSES})
    predictor = mmswin.load(config, weights, device='cpu')
    assert predictor.classes == CLASSES
    result, again = predictor([file, image], batch=2)
    same(result.instances, inference_detector(init_detector(config, weights, device='cpu'), file).pred_instances)
    np.testing.assert_allclose(again.instances.boxes, result.instances.boxes, atol=1e-4)
    inferred = DetInferencer(config, weights, device='cpu', show_progress=False)(file, return_datasamples=True)
    same(result.instances, inferred['predictions'][0].pred_instances)
    (low,) = predictor(image, amp='bf16')
    assert low.instances.boxes.dtype == np.float32 and abs(low.instances.scores[0] - result.instances.scores[0]) < 0.05


def test_label_maps_are_mmsegs(tmp_path, image, file):
    from mmseg.apis import MMSegInferencer

    config, weights = write(tmp_path, segmentation())
    predictor = mmswin.load(config, weights, device='cpu')
    assert predictor.classes == ('ground', *CLASSES) and predictor.palette[1] == (255, 0, 0)
    result, smaller, _ = predictor([file, image[:50], file], batch=3)
    assert len(result) > 1 and smaller.label_map.shape == (50, 110)
    inferred = MMSegInferencer(config, weights, device='cpu')(file, return_datasamples=True)
    np.testing.assert_array_equal(result.label_map, inferred.pred_sem_seg.data[0].numpy())


def test_a_network_that_is_pretrained_predicts_nothing(tmp_path):
    (tmp_path / 'config.py').write_text("model = dict(type='SimMIM')\ntrain_dataloader = dict(dataset={})")
    with pytest.raises(RunError, match=r'config\.py pretrains .*mmswin browse'):
        mmswin.load(str(tmp_path / 'config.py'), 'weights.pth')


@pytest.mark.parametrize('out_channels', [3, 1])
def test_tiles_are_mmsegs_sliding_windows(tmp_path, image, out_channels):
    config = segmentation(test_cfg=dict(mode='slide', crop_size=(40, 40), stride=(20, 35)))
    if out_channels == 1:
        config['model']['decode_head'] |= dict(
            num_classes=2, out_channels=1, threshold=0.5, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)
        )
        config['test_dataloader']['dataset']['metainfo'] = dict(classes=CLASSES)
    files = write(tmp_path, config)
    # Strides of 20 and 35 are those of tiles of 40 in 80 x 110 pixels with an overlap of 0.1 ... along each side.
    (slid,) = mmswin.load(*files, device='cpu')(image)
    whole = mmswin.load(*files, device='cpu', cfg_options=['model.test_cfg.mode=whole'])
    (tiled,) = whole(image, tile=40, overlap=0.1)
    assert (tiled.label_map == slid.label_map).mean() > 0.99
    if out_channels == 3:
        (plain,) = whole(image)
        assert (tiled.label_map == plain.label_map).mean() < 0.99
    assert len(tiled) > 1


def test_names_of_the_checkpoint_come_first_and_their_number_must_fit(tmp_path):
    files = write(tmp_path, detection(), dataset_meta={'CLASSES': ('box', 'beam')})
    assert mmswin.load(*files, device='cpu').classes == ('box', 'beam')
    files = write(tmp_path, detection(), dataset_meta={'classes': ('one', 'two', 'three')})
    assert mmswin.load(*files, device='cpu').classes == CLASSES
    config = detection()
    config['test_dataloader']['dataset']['metainfo'] = dict(classes=('one',))
    assert mmswin.load(*write(tmp_path, config), device='cpu').classes == ('class 0', 'class 1')


def test_what_cannot_predict_is_refused(tmp_path):
    config, weights = write(tmp_path, detection())
    with pytest.raises(RunError, match='nowhere'):
        mmswin.load('nowhere.py', weights)
    with pytest.raises(RunError, match='tpu7'):
        mmswin.load(config, weights, device='tpu7')
    torch.save({'state_dict': {'other': torch.zeros(3)}}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'other\.pth'):
        mmswin.load(config, str(tmp_path / 'other.pth'))
    with pytest.raises(RunError, match='LoadImageFromFile'):
        mmswin.load(config, weights, cfg_options=['test_dataloader.dataset.pipeline.0.type=LoadImageFromNDArray'])
