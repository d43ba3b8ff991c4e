def read_model() -> "Encoder":
    """The model on its device, warm: the first texts are as fast as the others."""
    folder = weights_folder()
    with timed("import"):
        from cmkit.model.encoder import Encoder
    with timed("load"), or_end("its files"):
        model = Encoder(folder, pick_device(), threads=cpus())
    with timed("warm-up"), or_end("its .onnx file"):
        model.encode(["1"], BATCH_SIZE)
    return model
