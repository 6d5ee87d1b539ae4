# ATSS with FPN as in mmdetection, on R-50. There the model stands in one file with data and schedule: take it alone.
_base_ = '../backbones.py'

# Behind _base_, by which mmengine tells this kind of configuration from its other one.
from mmengine.hub import get_config  # noqa: E402

model = get_config('mmdet::atss/atss_r50_fpn_1x_coco.py').model
model.backbone.init_cfg = _base_.resnet50_init
