# MAE of ViT-B/16, 224x224, 300 epochs, for mmswin.ViTPyramid. 100 epochs of fine-tuning give top-1 83.1 (mmpretrain).
_base_ = [
    '_base_/models/mae_vit_b.py',
    '_base_/datasets/imagenet_masked.py',
    '_base_/runtime_pretraining.py',
    '_base_/schedules/adamw_pretraining.py',
]
epochs, warm_up_epochs = 300, 40
pictures = [step for step in _base_.train_pipeline if step['type'] != 'SimMIMMaskGenerator']  # it masks tokens itself
pictures[1].update(scale=224, crop_ratio_range=(0.2, 1.0))
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=pictures))
optim_wrapper = dict(optimizer=dict(lr=2.4e-3, betas=(0.9, 0.95)), clip_grad=None)
warm_up = dict(_base_.warm_up, end=warm_up_epochs)
decay = dict(_base_.decay, begin=warm_up_epochs, end=epochs, T_max=epochs - warm_up_epochs, eta_min=0.0)
param_scheduler = [warm_up, decay]
train_cfg = dict(max_epochs=epochs)
auto_scale_lr = dict(base_batch_size=4096)
