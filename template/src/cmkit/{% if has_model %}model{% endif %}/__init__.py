"""The model: its files, where it runs, and how its start goes."""

from .device import pick_device
from .loading import end, or_end, timed
from .weights import model_version, weights_folder

__all__ = ["end", "model_version", "or_end", "pick_device", "timed", "weights_folder"]
