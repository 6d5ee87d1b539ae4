# Fine-tuning of a detector: 36 epochs, the learning rate falling along a cosine.
_base_ = './finetune.py'

epochs = 36
warm_up = dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100)
decay = dict(type='CosineAnnealingLR', by_epoch=True, T_max=epochs, eta_min_ratio=0.01, convert_to_iter_based=True)
param_scheduler = [warm_up, decay]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
