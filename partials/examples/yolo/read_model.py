def read_model() -> "YOLO":
    """The model, warm: the first images are as fast as the others."""
    folder = weights_folder()
    with timed("import"):
        from ultralytics.models import YOLO
    with timed("load"), or_end(CHECKPOINT):
        model = YOLO(folder / CHECKPOINT, task="detect")
    if model.task != "detect":
        end(f"{CHECKPOINT} is for the task {model.task!r}, not for 'detect': take a detector")
    with timed("warm-up"):
        model.predict(Image.new("RGB", (64, 64)), device=DEVICE, verbose=False)
    return model
