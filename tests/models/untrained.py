"""A program, inside a Python that has ultralytics: `untrained.py yolo26n-cls FILE` writes a model of that kind."""

import sys


def write(name: str, checkpoint: str) -> None:
    """Write a model that has learned nothing, of a task that ultralytics has a description of."""
    from ultralytics import YOLO

    YOLO(f"{name}.yaml").save(checkpoint)


if __name__ == "__main__":
    write(*sys.argv[1:])
