# What Swin leaves out or adds in the paper's ablation (table 4; its last row, the relative position bias, is Swin
# itself). The paper trained a classifier for each. They are not released: these start from the released one, as far as
# it fits, until --cfg-options model.backbone.init_cfg.checkpoint=FILE names one's own.
ablations = dict(
    no_shift=dict(shift_windows=False),
    no_pos=dict(use_rel_pos_bias=False),
    abs_pos=dict(use_rel_pos_bias=False, use_abs_pos_embed=True),
    abs_rel_pos=dict(use_abs_pos_embed=True),
    rel_pos_no_content=dict(use_content_term=False),
)
