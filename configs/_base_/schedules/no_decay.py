# Parameters without weight decay, by parts of their names, in all recipes: first those of both Swins, then Swin V2's and a
# ViT's.
no_decay = dict(
    custom_keys=dict(
        absolute_pos_embed=dict(decay_mult=0.0),
        relative_position_bias_table=dict(decay_mult=0.0),
        norm=dict(decay_mult=0.0),
        mask_token=dict(decay_mult=0.0),
        cpb_mlp=dict(decay_mult=0.0),
        logit_scale=dict(decay_mult=0.0),
        pos_embed=dict(decay_mult=0.0),
        cls_token=dict(decay_mult=0.0),
    )
)
