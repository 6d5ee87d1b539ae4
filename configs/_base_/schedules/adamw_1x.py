_base_ = './adamw.py'

train_cfg = dict(max_epochs=12)
param_scheduler = [_base_.warm_up, dict(type='MultiStepLR', by_epoch=True, milestones=[8, 11], gamma=0.1)]
