# The paper's schedule on ImageNet-22K, for batch 4096: 90 epochs, 5 of them warm-up, then a straight line to a hundredth.
_base_ = './adamw_classification.py'

epochs, warm_up_epochs = 90, 5
optim_wrapper = dict(optimizer=dict(weight_decay=0.01))
warm_up = dict(_base_.warm_up, end=warm_up_epochs)
decay = dict(_base_.warm_up, start_factor=1.0, end_factor=0.01, begin=warm_up_epochs, end=epochs)
param_scheduler = [warm_up, decay]
train_cfg = dict(max_epochs=epochs)
val_cfg = None
test_cfg = None
auto_scale_lr = dict(base_batch_size=4096)
