# Where the recipes start: classifiers trained on ImageNet-1K, or (..._22k) on ImageNet-22K.
# To load them from a directory (or a mirror) that holds files of these names:
# export MMSWIN_PRETRAINED_DIR=/path. For one file of any name:
# --cfg-options model.backbone.init_cfg.checkpoint=/path/to/file.pth
swin_release = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0'
pretrained_dir = '{{$MMSWIN_PRETRAINED_DIR:https://github.com/SwinTransformer/storage/releases/download/v1.0.0}}'
pretrained = dict(
    tiny=f'{pretrained_dir}/swin_tiny_patch4_window7_224.pth',
    small=f'{pretrained_dir}/swin_small_patch4_window7_224.pth',
    base=f'{pretrained_dir}/swin_base_patch4_window7_224.pth',
    base_22k=f'{pretrained_dir}/swin_base_patch4_window7_224_22k.pth',
    base_22k_384=f'{pretrained_dir}/swin_base_patch4_window12_384_22k.pth',
    large_22k=f'{pretrained_dir}/swin_large_patch4_window7_224_22k.pth',
    large_22k_384=f'{pretrained_dir}/swin_large_patch4_window12_384_22k.pth',
)

# Swin V2, and those that Swin is compared with: where they are by default (short names are mmengine's), and the files'
# names.
elsewhere = dict(
    deit_small=(
        'https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth',
        'deit_small_patch16_224-cd65a155.pth',
    ),
    resnet50=('torchvision://resnet50', 'resnet50-0676ba61.pth'),
    resnet101_v1c=('open-mmlab://resnet101_v1c', 'resnet101_v1c-e67eebb6.pth'),
    resnext101_32x4d=('open-mmlab://resnext101_32x4d', 'resnext101_32x4d-a5af3160.pth'),
    resnext101_64x4d=('open-mmlab://resnext101_64x4d', 'resnext101_64x4d-ee2c6f71.pth'),
)
v2_release = 'https://github.com/SwinTransformer/storage/releases/download/v2.0.0'
v2_files = dict(
    v2_tiny='swinv2_tiny_patch4_window8_256.pth',
    v2_base_22k='swinv2_base_patch4_window12_192_22k.pth',
    v2_large_22k='swinv2_large_patch4_window12_192_22k.pth',
)
elsewhere.update({name: (f'{v2_release}/{file}', file) for name, file in v2_files.items()})
pretrained.update(
    {
        name: default if pretrained_dir == swin_release else f'{pretrained_dir}/{file}'
        for name, (default, file) in elsewhere.items()
    }
)
