def read_model() -> "SentenceTransformer":
    """The model on its device, warm: the first texts are as fast as the others."""
    folder = weights_folder()
    with timed("import"):
        from sentence_transformers import SentenceTransformer
    with timed("load"):
        model = SentenceTransformer(str(folder), device=pick_device(), local_files_only=True)
    with timed("warm-up"):
        model.encode(["warm-up"], show_progress_bar=False)
    return model
