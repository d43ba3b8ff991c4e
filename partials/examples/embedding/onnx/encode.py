def vectors_of(texts: list[str], prompt: str) -> Vectors:
    """One vector of length 1 for each text, in their order."""
    return MODEL.encode([prompt + beginning(text) for text in texts], BATCH_SIZE)
