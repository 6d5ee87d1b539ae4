# CIFAR-100 from random weights, six blocks in the middle stage and 100 epochs: for a night on a processor. Not run yet.
_base_ = './swin_cifar100.py'

epochs, warm_up_epochs = 100, 10
model = dict(backbone=dict(depths=(2, 6, 2), drop_path_rate=0.1))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
warm_up = dict(_base_.warm_up, end=warm_up_epochs)
decay = dict(_base_.decay, begin=warm_up_epochs, end=epochs, T_max=epochs - warm_up_epochs)
param_scheduler = [warm_up, decay]
train_cfg = dict(max_epochs=epochs)
