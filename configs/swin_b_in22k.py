# Swin-B on ImageNet-22K from random weights, 224x224. swin_b_in22k_in1k goes on from its weights.
_base_ = [
    '_base_/models/swin_classifier.py',
    '_base_/datasets/imagenet_22k.py',
    '_base_/schedules/adamw_classification_22k.py',
    '_base_/runtime_pretraining.py',
]

classes = 21841
head = dict(num_classes=classes, in_channels=1024)
model = dict(data_preprocessor=dict(num_classes=classes), backbone=dict(arch='base'), head=head)
