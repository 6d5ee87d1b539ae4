# Swin V2's fine-tuning on ImageNet-1K from ImageNet-22K: 30 epochs at batch 1024, 5 of them warm-up, then a cosine.
_base_ = './adamw_classification.py'

epochs, warm_up_epochs = 30, 5
optim_wrapper = dict(optimizer=dict(lr=4e-5, weight_decay=1e-8), clip_grad=dict(max_norm=5.0))
warm_up = dict(_base_.warm_up, end=warm_up_epochs)
decay = dict(_base_.decay, begin=warm_up_epochs, end=epochs, T_max=epochs - warm_up_epochs, eta_min=4e-7)
param_scheduler = [warm_up, decay]
train_cfg = dict(max_epochs=epochs)
