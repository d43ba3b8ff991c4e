def prompt_of(*names: str) -> str:
    """What the model wants before a text: the first of these prompts that its configuration fills.

    encode_document() itself is content with its own empty "document", where a model calls it "passage".
    """
    return next((prompt for name in names if (prompt := MODEL.prompts.get(name))), "")


def beginning(text: str) -> str:
    """As much of a text as its tokenizer gets, which would spend seconds on what the model never reads."""
    tokens = MODEL.max_seq_length or MOST_CHARACTERS
    return text[: int(min(tokens * CHARACTERS_PER_TOKEN, MOST_CHARACTERS))]


def is_too_long(text: str, prompt: str) -> bool:
    """Whether the model reads only the beginning of a text behind its prompt."""
    limit = MODEL.max_seq_length
    read = prompt + beginning(text)
    if len(read) < len(prompt + text):
        return True
    # A token has at least one character, so most texts need no count of their tokens.
    if limit is None or len(read) < limit - 1:
        return False
    return len(MODEL.tokenizer(read, verbose=False)["input_ids"]) > limit


def shortest(vector: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> list[float]:
    """The numbers of a vector with no more digits than tell them from other float32 numbers."""
    return list(vector.astype(str).astype(float).tolist())
