# What registers this package's types and its reader of checkpoints, for tools that load a checkpoint before the model.
custom_imports = dict(imports=['mmswin.registry'])
# This package's hooks, for every run.
custom_hooks = [dict(type='mmswin.RunBannerHook'), dict(type='mmswin.NonFiniteLossHook')]
