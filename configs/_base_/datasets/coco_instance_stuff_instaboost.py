# The same with COCO-stuff's label maps for the semantic branch, in data/coco/stuffthingmaps/train2017/*.png (from
# stuffthingmaps_trainval2017.zip): 0 to 181, and 255 for what is not labelled. Training alone reads them. They stay as they
# are where InstaBoost moves an object, which is at most a fifteenth of its size; what the authors did is not known.
_base_ = './coco_instance_instaboost.py'

all_truth = dict(_base_.truth, with_seg=True)
train_pipeline = [all_truth if step.type == 'LoadAnnotations' else step for step in _base_.train_pipeline]

train_dataloader = dict(
    dataset=dict(data_prefix=dict(img='train2017/', seg='stuffthingmaps/train2017/'), pipeline=train_pipeline)
)
