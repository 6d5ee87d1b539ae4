# Your own pictures in class folders: Swin-T fine-tuned from ImageNet-1K, here on the five kinds of TensorFlow's flowers.
_base_ = [
    '_base_/models/swin_classifier.py',
    '_base_/datasets/imagenet.py',
    '_base_/schedules/adamw_classification.py',
    '_base_/runtime_classification.py',
    '_base_/pretrained.py',
]
classes, epochs, warm_up_epochs = 5, 30, 2
start = dict(type='Pretrained', checkpoint=_base_.pretrained.tiny)
backbone = dict(drop_path_rate=0.1, init_cfg=start)
model = dict(data_preprocessor=dict(num_classes=classes), backbone=backbone, head=dict(num_classes=classes))
folders = dict(_delete_=True, type='CustomDataset', data_root='{{$MMSWIN_DATA_DIR:data/flower_photos}}')
train = dict(**folders, data_prefix='train', pipeline=_base_.train_pipeline)
val = dict(**folders, data_prefix='val', pipeline=_base_.test_pipeline, test_mode=True)
train_dataloader = dict(batch_size=32, num_workers=2, dataset=train)
val_dataloader = dict(batch_size=32, num_workers=2, dataset=val)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=5e-5))
warm_up = dict(_base_.warm_up, end=warm_up_epochs)
param_scheduler = [warm_up, dict(_base_.decay, begin=warm_up_epochs, end=epochs, T_max=epochs - warm_up_epochs)]
train_cfg = dict(max_epochs=epochs)
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
auto_scale_lr = dict(base_batch_size=32)
