# The Cascade Mask R-CNN without its mask branch.
_base_ = './cascade_mask_rcnn_swin_t.py'

model = dict(data_preprocessor=dict(pad_mask=False), roi_head=dict(mask_roi_extractor=None, mask_head=None))
