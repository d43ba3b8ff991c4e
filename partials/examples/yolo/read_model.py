def read_model() -> "YOLO":
    """The model, warm: the first images are as fast as the others."""
    folder = weights_folder()
    with timed("import"):
        from ultralytics.models import YOLO
    with timed("load"):
        model = YOLO(folder / CHECKPOINT, task="detect")
    with timed("warm-up"):
        model.predict(Image.new("RGB", (64, 64)), device=DEVICE, verbose=False)
    return model
