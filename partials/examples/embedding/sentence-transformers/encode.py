def documents(texts: list[str], prompt: str) -> Vectors:
    """One vector of length 1 for each document, in their order."""
    return MODEL.encode_document(
        [beginning(text) for text in texts],
        prompt=prompt,
        batch_size=BATCH_SIZE,
        normalize_embeddings=True,
        show_progress_bar=False,
    )


def queries(texts: list[str], prompt: str) -> Vectors:
    """One vector of length 1 for each query; many models encode these in another way."""
    return MODEL.encode_query(
        [beginning(text) for text in texts],
        prompt=prompt,
        batch_size=BATCH_SIZE,
        normalize_embeddings=True,
        show_progress_bar=False,
    )
