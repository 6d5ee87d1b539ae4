# The paper's fine-tuning on ImageNet-1K, from a larger set or a smaller picture: 30 epochs at batch 1024 and a constant
# learning rate of 1e-5.
_base_ = './adamw_classification.py'

optim_wrapper = dict(optimizer=dict(lr=1e-5, weight_decay=1e-8))
param_scheduler = []
train_cfg = dict(max_epochs=30)
