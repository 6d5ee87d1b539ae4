# Your own boxes and masks: Cascade Mask R-CNN Swin-T from COCO. All there is to say is said in the next lines.
classes = ('cat', 'dog')
palette = [(220, 20, 60), (0, 0, 142)]
data_root = '{{$MMSWIN_DATA_DIR:data/mine}}/'
train = dict(ann_file='annotations/train.json', data_prefix=dict(img='train/'))
val = dict(ann_file='annotations/val.json', data_prefix=dict(img='val/'))
release = '{{$MMSWIN_PRETRAINED_DIR:https://github.com/SwinTransformer/storage/releases/download/v1.0.2}}'
load_from = f'{release}/cascade_mask_rcnn_swin_tiny_patch4_window7.pth'

_base_ = [
    '_base_/models/cascade_mask_rcnn_swin_t.py',
    '_base_/datasets/coco_instance.py',
    '_base_/schedules/finetune_epochs.py',
    '_base_/runtime.py',
]
heads = dict(num_classes=len(classes))
boxes = [dict(head, **heads) for head in _base_.model.roi_head.bbox_head]
model = dict(backbone=dict(init_cfg=None), roi_head=dict(bbox_head=boxes, mask_head=heads))
data = dict(data_root=data_root, metainfo=dict(classes=classes, palette=palette))
train_dataloader = dict(dataset=dict(**data, **train))
val_dataloader = dict(dataset=dict(**data, **val))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + val['ann_file'])
test_evaluator = val_evaluator
