# Five kinds of flowers at 64 x 64 pixels on the network of swin_cifar100, 20 epochs: from random weights, or with --load-from.
_base_ = [
    '_base_/models/swin_classifier_32px.py',
    '_base_/datasets/flowers.py',
    '_base_/schedules/muon_classification.py',
    '_base_/runtime_classification.py',
]
epochs = 20
model = dict(data_preprocessor=_base_.preprocessor, head=dict(num_classes=5))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
warm_up = _base_.warm_up
param_scheduler = [warm_up, dict(_base_.decay, end=epochs, T_max=epochs - warm_up['end'])]
train_cfg = dict(max_epochs=epochs)
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=2))
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
auto_scale_lr = dict(base_batch_size=64)
randomness = dict(seed=0)
