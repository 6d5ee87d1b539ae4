# CIFAR-100 from random weights, 1.7 M parameters, 30 epochs: --amp --tune-cpu takes 100 minutes of one processor core.
_base_ = [
    '_base_/models/swin_classifier_32px.py',
    '_base_/datasets/cifar100.py',
    '_base_/schedules/adamw_classification.py',
    '_base_/runtime_classification.py',
]
epochs, warm_up_epochs = 30, 3
# Half of the work of an epoch lies in the first stage: one block there. Nothing is recomputed, for memory is no concern.
model = dict(data_preprocessor=_base_.preprocessor, backbone=dict(depths=(1, 3, 2), drop_path_rate=0.0, with_cp=False))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
warm_up = dict(_base_.warm_up, end=warm_up_epochs)
decay = dict(_base_.decay, begin=warm_up_epochs, end=epochs, T_max=epochs - warm_up_epochs)
param_scheduler = [warm_up, decay]
train_cfg = dict(max_epochs=epochs, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=2))
auto_scale_lr = dict(base_batch_size=128)
randomness = dict(seed=0)
