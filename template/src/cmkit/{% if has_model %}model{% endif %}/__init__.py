"""The model: its files, and where it runs."""

from .device import pick_device, timed
from .weights import weights_folder

__all__ = ["pick_device", "timed", "weights_folder"]
