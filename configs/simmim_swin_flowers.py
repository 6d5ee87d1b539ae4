# SimMIM on the flowers themselves at 64 x 64, on the network of swin_flowers, 200 epochs; of 64 cells of 8 x 8 pixels, 39 are
# masked. Nothing is validated.
_base_ = './swin_flowers.py'

epochs, colours = 200, _base_.preprocessor
pixels = dict(type='SelfSupDataPreprocessor', mean=colours['mean'], std=colours['std'], to_rgb=True)
model = dict(
    _delete_=True,
    type='SimMIM',
    data_preprocessor=pixels,
    backbone=dict(_base_.model.backbone, type='mmswin.MaskedSwinTransformer', drop_path_rate=0.0),
    neck=dict(type='SimMIMLinearDecoder', in_channels=192, encoder_stride=8),
    head=dict(type='SimMIMHead', patch_size=4, loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3)),
)
mask = dict(type='SimMIMMaskGenerator', input_size=64, mask_patch_size=8, model_patch_size=4, mask_ratio=0.6)
train_pipeline = [*_base_.train_pipeline[:-1], mask, _base_.train_pipeline[-1]]
train_dataloader = dict(
    collate_fn=dict(type='default_collate'), dataset=dict(with_label=False, pipeline=train_pipeline)
)
param_scheduler = [_base_.warm_up, dict(_base_.decay, end=epochs, T_max=epochs - _base_.warm_up['end'])]
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
default_hooks = dict(checkpoint=dict(interval=20, save_best=None, rule=None))
val_cfg = val_dataloader = val_evaluator = test_cfg = test_dataloader = test_evaluator = None
