# AdamW with a warm-up and a cosine, in epochs; no weight decay on norms, biases, bias tables and position embeddings. The
# recipe of the paper, for batch 1024: learning rate 1e-3, 300 epochs, 20 of them warm-up, gradients clipped at 1.
_base_ = './no_decay.py'

epochs = 300
warm_up_epochs = 20
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmswin.OptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(_base_.no_decay, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
warm_up = dict(
    type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=warm_up_epochs, convert_to_iter_based=True
)
decay = dict(
    type='CosineAnnealingLR',
    eta_min=1e-5,
    by_epoch=True,
    begin=warm_up_epochs,
    end=epochs,
    T_max=epochs - warm_up_epochs,
    convert_to_iter_based=True,
)
param_scheduler = [warm_up, decay]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=1024)
