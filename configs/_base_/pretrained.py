# The authors' classifiers, the starting point of every recipe: trained on ImageNet-1K, or (..._22k) on ImageNet-22K.
# To load them from a directory (or a mirror) that holds files of these names:
# export MMSWIN_PRETRAINED_DIR=/path. For one file of any name:
# --cfg-options model.backbone.init_cfg.checkpoint=/path/to/file.pth
pretrained_dir = '{{$MMSWIN_PRETRAINED_DIR:https://github.com/SwinTransformer/storage/releases/download/v1.0.0}}'
pretrained = dict(
    tiny=f'{pretrained_dir}/swin_tiny_patch4_window7_224.pth',
    small=f'{pretrained_dir}/swin_small_patch4_window7_224.pth',
    base=f'{pretrained_dir}/swin_base_patch4_window7_224.pth',
    base_22k=f'{pretrained_dir}/swin_base_patch4_window7_224_22k.pth',
    large_22k=f'{pretrained_dir}/swin_large_patch4_window7_224_22k.pth')
