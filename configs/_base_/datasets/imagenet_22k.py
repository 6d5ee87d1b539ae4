# ImageNet-22K as class folders (n00004475/*.JPEG and 21,840 others) at 224 x 224. Nothing is validated.
_base_ = './imagenet.py'

data_root = '{{$MMSWIN_IMAGENET22K_DIR:data/imagenet22k}}'
folders = dict(type='CustomDataset', data_root=data_root, pipeline=_base_.train_pipeline)
train_dataloader = dict(dataset=dict(folders, _delete_=True))  # of 32 GPUs
val_dataloader = test_dataloader = val_evaluator = test_evaluator = None
