"""The demo: miniature data, ``tools/train.py``, ``tools/test.py``, pictures and curves, from nothing in minutes.

Calls the real tools as a user would, shows a line for each step of theirs, and keeps their full output beside the
results.  Each run gets a directory of its own; nothing of an earlier one is touched.
"""

from mmswin.demo.halves import DETECTION, HALVES, SEGMENTATION, Half, ap_table, iou_table, scores_of_ground
from mmswin.demo.progress import DemoError, Progress, duration, run_tool, shown
from mmswin.demo.run import DemoPlan, new_run_dir, plan_demo, read_scores, run_demo

__all__ = [
    'DETECTION', 'HALVES', 'SEGMENTATION', 'DemoError', 'DemoPlan', 'Half', 'Progress', 'ap_table', 'duration',
    'iou_table', 'new_run_dir', 'plan_demo', 'read_scores', 'run_demo', 'run_tool', 'scores_of_ground', 'shown',
]  # fmt: skip
