"""Reads a folder of event files with Python's tensorboard, as its web page does, and prints what it holds as JSON.

    python tests/reference/read_events.py FOLDER
"""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import HISTOGRAMS, SCALARS, TENSORS, EventAccumulator
from tensorboard.util import tensor_util

events = EventAccumulator(sys.argv[1], size_guidance={SCALARS: 0, TENSORS: 0, HISTOGRAMS: 0})
events.Reload()
result = {"scalars": {}, "texts": {}, "histograms": {}, "file_version": events.file_version}
for tag in events.Tags()["scalars"]:
    result["scalars"][tag] = [[e.step, e.value, e.wall_time] for e in events.Scalars(tag)]
for tag in events.Tags()["tensors"]:
    plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
    assert plugin == "text", plugin
    result["texts"][tag] = [tensor_util.make_ndarray(e.tensor_proto)[0].decode() for e in events.Tensors(tag)]
for tag in events.Tags()["histograms"]:
    result["histograms"][tag] = [
        {"step": e.step, "min": h.min, "max": h.max, "num": h.num, "sum": h.sum, "squares": h.sum_squares,
         "limits": list(h.bucket_limit), "counts": list(h.bucket)}
        for e in events.Histograms(tag) for h in [e.histogram_value]]
print(json.dumps(result))
