_base_ = './adamw.py'

train_cfg = dict(max_epochs=36)
param_scheduler = [_base_.warm_up, dict(type='MultiStepLR', by_epoch=True, milestones=[27, 33], gamma=0.1)]
