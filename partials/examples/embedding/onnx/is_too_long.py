def is_too_long(text: str, prompt: str) -> bool:
    """Whether the model reads only the beginning of a text, after its prompt."""
    read = beginning(text)
    return len(read) < len(text) or MODEL.truncates(prompt + read)
