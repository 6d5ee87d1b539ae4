# Swin V2-T with windows of 8, 512x512, 160k iterations, trained as with Swin-T. Nobody has published its accuracy.
_base_ = './upernet_swin_t_ade20k.py'

model = dict(backbone=dict(_base_.swin_v2_t, _delete_=True, drop_path_rate=0.3))
