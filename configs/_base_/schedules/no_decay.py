# Parameters without weight decay, by parts of their names, in all recipes. The last two are a ViT's.
no_decay = dict(
    custom_keys=dict(
        absolute_pos_embed=dict(decay_mult=0.0),
        relative_position_bias_table=dict(decay_mult=0.0),
        norm=dict(decay_mult=0.0),
        pos_embed=dict(decay_mult=0.0),
        cls_token=dict(decay_mult=0.0),
    )
)
