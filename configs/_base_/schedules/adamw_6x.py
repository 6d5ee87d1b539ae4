# The optimizer is that of the other detectors, which the paper does not say of HTC++.
_base_ = './adamw.py'

train_cfg = dict(max_epochs=72)
param_scheduler = [_base_.warm_up, dict(type='MultiStepLR', by_epoch=True, milestones=[63, 69], gamma=0.1)]
