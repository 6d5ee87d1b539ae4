# mmsegmentation's runtime and this package's hooks. The schedule says how often to save.
_base_ = ['mmseg::_base_/default_runtime.py', './hooks.py']
