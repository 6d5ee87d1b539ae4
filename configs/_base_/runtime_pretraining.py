# Runtime of pretraining in mmpretrain: nothing is validated, so no checkpoint is the best.
_base_ = './runtime_classification.py'

default_hooks = dict(checkpoint=dict(interval=10, save_best=None, rule=None))
