# UPerNet with an auxiliary FCN head as in mmsegmentation, on Swin-T, for the 150 classes of ADE20K.
_base_ = ['mmseg::_base_/models/upernet_swin.py', '../pretrained.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmswin.SwinTransformer',
        arch='tiny',
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint=_base_.pretrained.tiny)),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150))
