# Boxes and masks as HTC++ takes them: InstaBoost, short sides anywhere from 400 to 1400, long ones up to 1600. The test's
# size and views are not published; these are those of others' HTC on Swin.
_base_ = './coco_instance.py'

resize = dict(type='RandomResize', scale=[(1600, 400), (1600, 1400)], keep_ratio=True)
load, truth, flip, _, pack = _base_.train_pipeline
train_pipeline = [load, dict(type='mmswin.InstaBoost'), truth, resize, flip, pack]

test_size = dict(type='Resize', scale=(1600, 1400), keep_ratio=True)
test_pipeline = [test_size if step.type == 'Resize' else step for step in _base_.test_pipeline]

load_every_image, _, test_truth, test_pack = test_pipeline
test_scales = [(1600, 1000), (1600, 1400), (1800, 1200), (1800, 1600)]
tta_pipeline = [
    load_every_image,
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(test_size, scale=scale) for scale in test_scales],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [test_truth],
            [dict(test_pack, meta_keys=(*test_pack.meta_keys, 'flip', 'flip_direction'))],
        ],
    ),
]

# Large images: one a GPU. How many images a step took is not published.
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
