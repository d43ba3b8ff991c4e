def is_too_long(text: str, prompt: str) -> bool:
    """Whether the model reads only the beginning of a text, after its prompt."""
    limit = MODEL.max_seq_length
    read = prompt + beginning(text)
    if len(read) < len(prompt + text):
        return True
    # A token has at least one character, so short texts need no count of their tokens.
    if limit is None or len(read) < limit - 1:
        return False
    return len(MODEL.tokenizer(read, verbose=False)["input_ids"]) > limit
