# The demo's segmentation: UPerNet with Swin-T, shrunk until it learns a miniature ADE20K in minutes on two CPU cores.
# `make demo` starts it from the weights of its detector; alone it starts from random ones. The backbone is half as wide
# as Swin-T, with its depths and heads.
_base_ = './upernet_swin_t_ade20k.py'

classes = ('ground', 'circle', 'square', 'triangle', 'star', 'cross')
palette = [(120, 120, 120), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0)]
# Most of an image is ground, which is soon known: what is not yet sure counts alone.
sampler = dict(type='OHEMPixelSampler', thresh=0.9, min_kept=2000)
heads = dict(num_classes=len(classes), channels=64, sampler=sampler)
model = dict(
    data_preprocessor=dict(size=(112, 112)),
    backbone=dict(embed_dims=48, drop_path_rate=0.0, init_cfg=None),
    decode_head=dict(heads, in_channels=[48, 96, 192, 384]),
    auxiliary_head=dict(heads, in_channels=192),
)

# As in ADE20K, label 0 is "not labelled".
data = dict(
    type='BaseSegDataset',
    data_root='data/miniature_ade',
    metainfo=dict(classes=classes, palette=palette),
    reduce_zero_label=True,
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
# Small images at one scale, cropped and mirrored.
train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(112, 112)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [step for step in _base_.test_pipeline if step.type != 'Resize']
# With --tta as it is and mirrored.
views = _base_.tta_pipeline[1]
tta_pipeline = [_base_.load_every_image, dict(views, transforms=views.transforms[1:])]
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(data, pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, num_workers=1, dataset=dict(data, pipeline=test_pipeline))
test_dataloader = val_dataloader

iterations = 300
train_cfg = dict(max_iters=iterations, val_interval=150)
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=iterations, T_max=iterations - 50, eta_min=1e-5),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=100, max_keep_ckpts=1, save_best=None))
auto_scale_lr = dict(base_batch_size=4)
