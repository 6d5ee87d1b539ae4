# ImageNet-1K at 256 x 256; for tests the middle of a picture whose short side is 292.
_base_ = './imagenet.py'

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].update(scale=256)
test_pipeline[1].update(scale=292)
test_pipeline[2].update(crop_size=256)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
