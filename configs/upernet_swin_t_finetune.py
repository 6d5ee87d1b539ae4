# Your own label maps: UPerNet Swin-T goes on from ADE20K. All there is to say is said in the next lines.
classes = ('background', 'cat', 'dog')
palette = [(120, 120, 120), (220, 20, 60), (0, 0, 142)]
files = dict(img_suffix='.jpg', seg_map_suffix='.png', reduce_zero_label=False)  # True: 0 is ignored, 1 is the first
data_root = '{{$MMSWIN_DATA_DIR:data/mine}}'
train = dict(img_path='images/train', seg_map_path='labels/train')
val = dict(img_path='images/val', seg_map_path='labels/val')
release = '{{$MMSWIN_PRETRAINED_DIR:https://github.com/SwinTransformer/storage/releases/download/v1.0.1}}'
load_from = f'{release}/upernet_swin_tiny_patch4_window7_512x512.pth'

_base_ = [
    '_base_/models/upernet_swin_t.py',
    '_base_/datasets/ade20k.py',
    '_base_/schedules/finetune_iterations.py',
    '_base_/runtime_segmentation.py',
]
heads = dict(num_classes=len(classes))
model = dict(
    data_preprocessor=dict(size=_base_.crop_size), decode_head=heads, auxiliary_head=heads, backbone=dict(init_cfg=None)
)
data = dict(type='BaseSegDataset', data_root=data_root, metainfo=dict(classes=classes, palette=palette), **files)
train_dataloader = dict(dataset=dict(**data, data_prefix=train))
val_dataloader = dict(dataset=dict(**data, data_prefix=val))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(interval=_base_.iterations // 20))
