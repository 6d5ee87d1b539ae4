# SimMIM's schedule for batch 2048: AdamW with a warm-up and a cosine over 100 epochs; nothing is validated.
_base_ = './adamw_classification.py'

epochs = 100
optim_wrapper = dict(optimizer=dict(lr=8e-4), paramwise_cfg=dict(norm_decay_mult=0.0), clip_grad=dict(max_norm=5.0))
warm_up = dict(_base_.warm_up, end=10)
decay = dict(_base_.decay, begin=10, end=epochs, T_max=epochs - 10, eta_min=4e-5)
param_scheduler = [warm_up, decay]
train_cfg = dict(max_epochs=epochs)
val_cfg = None
test_cfg = None
auto_scale_lr = dict(base_batch_size=2048)
