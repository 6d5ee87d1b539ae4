# This package's hooks, for every run.
custom_hooks = [dict(type='mmswin.RunBannerHook'), dict(type='mmswin.NonFiniteLossHook')]
