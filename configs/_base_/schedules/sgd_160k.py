# The recipe of mmsegmentation's UPerNets on ADE20K: SGD at batch 16, polynomial decay, no warm-up.
_base_ = './adamw_160k.py'

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='mmswin.OptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False, begin=0, end=_base_.iterations)]
