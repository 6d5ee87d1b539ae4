# The Mask R-CNN without its mask branch.
_base_ = './mask_rcnn_swin_t.py'

model = dict(
    type='FasterRCNN', data_preprocessor=dict(pad_mask=False), roi_head=dict(mask_roi_extractor=None, mask_head=None)
)
