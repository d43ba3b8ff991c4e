"""Turns the texts of a column into vectors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from device import pick_device, timed
from pipeline import load, run
from weights import weights_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH_SIZE = 64


{% include pathjoin('partials', 'embedding', 'read_model.py') %}


# Loaded once, when the container starts; process() only reads it. Anything heavy belongs here.
MODEL = load(read_model)


@dataclass
class InputRecord:
    """A row of an input: its columns and their types."""

    record_id: str
    text: str


@dataclass
class OutputRecord:
    """A text as a vector of length 1; `truncated` where the model read only its beginning."""

    record_id: str
    dimension: int
    vector: list[float]
    truncated: bool


def process(batch: pa.Table) -> pa.Table:
    """Turn each text into a vector; the cosine of two of them is their dot product."""
    texts = batch["text"].to_pylist()
    vectors = MODEL.encode(
        texts, batch_size=BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False
    )
    return pa.table(
        {
            "record_id": batch["record_id"],
            "dimension": [len(vector) for vector in vectors],
            "vector": list(vectors),
            "truncated": [is_too_long(text) for text in texts],
        }
    )


def is_too_long(text: str) -> bool:
    """Whether the model reads only the beginning of a text."""
    limit = MODEL.max_seq_length
    # A token has at least one character, so most texts need no count of their tokens.
    if limit is None or len(text) < limit - 1:
        return False
    return len(MODEL.tokenizer(text, truncation=False)["input_ids"]) > limit


if __name__ == "__main__":
    run(process, InputRecord, OutputRecord)
