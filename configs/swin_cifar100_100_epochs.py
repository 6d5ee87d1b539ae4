# CIFAR-100 from random weights on patches of 2 pixels, 2.1 M parameters, 100 epochs: a night on two cores. Not run yet.
_base_ = './swin_cifar100.py'

epochs = 100
net = dict(patch_size=2, embed_dims=64, depths=(2, 6, 2), num_heads=(2, 4, 8), strides=(2, 2, 2), out_indices=(2,))
model = dict(backbone=dict(**net, drop_path_rate=0.1), head=dict(in_channels=256))
warm_up = _base_.warm_up
param_scheduler = [warm_up, dict(_base_.decay, end=epochs, T_max=epochs - warm_up['end'])]
train_cfg = dict(max_epochs=epochs)
