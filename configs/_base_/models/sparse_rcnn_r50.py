# Sparse R-CNN with FPN and 300 learned proposals as in mmdetection, on R-50. There the model stands in one file with
# data and schedule: take it alone.
_base_ = '../backbones.py'

# Behind _base_, by which mmengine tells this kind of configuration from its other one.
from mmengine.hub import get_config  # noqa: E402

model = get_config('mmdet::sparse_rcnn/sparse-rcnn_r50_fpn_300-proposals_crop-ms-480-800-3x_coco.py').model
model.backbone.init_cfg = _base_.resnet50_init
