# CIFAR-100 from random weights on patches of 2 pixels, 2.1 M parameters, 100 epochs: a night on two cores. Not run yet.
_base_ = [
    '_base_/models/swin_classifier_32px.py',
    '_base_/datasets/cifar100.py',
    '_base_/schedules/adamw_classification.py',
    '_base_/runtime_classification.py',
]
epochs, warm_up_epochs = 100, 10
backbone = dict(depths=(2, 6, 2), drop_path_rate=0.1, with_cp=False)
model = dict(data_preprocessor=_base_.preprocessor, backbone=backbone)
warm_up = dict(_base_.warm_up, end=warm_up_epochs)
decay = dict(_base_.decay, begin=warm_up_epochs, end=epochs, T_max=epochs - warm_up_epochs)
param_scheduler = [warm_up, decay]
train_cfg = dict(max_epochs=epochs, val_interval=5)
auto_scale_lr = dict(base_batch_size=128)
