def read_model() -> "SentenceTransformer":
    """The model on its device, warm: the first texts are as fast as the others."""
    folder = weights_folder()
    with timed("import"):
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
        from sentence_transformers import SentenceTransformer
    with timed("load"), or_end("its files"):
        model = SentenceTransformer(str(folder), device=pick_device(), local_files_only=True)
    with timed("warm-up"):
        one, two = model.encode(["1", "2"], show_progress_bar=False)
    if (one == two).all():
        end("it reads every text alike: weights.lock has no files of its tokenizer")
    return model
