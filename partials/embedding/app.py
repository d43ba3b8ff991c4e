"""Turns texts into vectors, and searches a catalogue by meaning."""

import csv
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from compute_modules.context import QueryContext

from device import pick_device, timed
from startup import CallerError, function, load, start
from weights import weights_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# More texts than this in one call would keep its caller waiting; callers send several calls instead.
MOST_TEXTS = 1000
BATCH_SIZE = 64

# The model's tokenizer changes while it works, so calls take turns at it.
TURN = threading.Lock()


{% include pathjoin('partials', 'embedding', 'read_model.py') %}


def read_catalogue() -> list[dict[str, str]]:
    """The records that can be found."""
    with (Path(__file__).parent / "data" / "parts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def vectors_of(texts: list[str]) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """One vector of length 1 for each text, in their order."""
    with TURN:
        return MODEL.encode(
            texts, batch_size=BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False
        )


# Loaded once, when the container starts; handlers only read them. Anything heavy belongs here.
MODEL = load(read_model)
CATALOGUE = load(read_catalogue)
INDEX = load(lambda: vectors_of([record["label"] for record in CATALOGUE]))


@dataclass
class EmbedPayload:
    """What goes in."""

    texts: list[str]


@dataclass
class Embedding:
    """One text as a vector of length 1; `truncated` where the model read only its beginning."""

    vector: list[float]
    truncated: bool


@dataclass
class EmbedResult:
    """What comes back: the embeddings in the order of the texts, each of `dimension` numbers."""

    dimension: int
    embeddings: list[Embedding]


@function
def embed(context: QueryContext, event: EmbedPayload) -> EmbedResult:
    """Turn each text into a vector; the cosine of two of them is their dot product."""
    if len(event.texts) > MOST_TEXTS:
        raise CallerError(f"{len(event.texts)} texts in one call; send at most {MOST_TEXTS}.")
    vectors = vectors_of(event.texts) if event.texts else np.empty((0, 0), np.float32)
    return EmbedResult(
        dimension=MODEL.get_sentence_embedding_dimension() or 0,
        embeddings=[
            Embedding(vector=vector.tolist(), truncated=is_too_long(text))
            for vector, text in zip(vectors, event.texts, strict=True)
        ],
    )


def is_too_long(text: str) -> bool:
    """Whether the model reads only the beginning of a text."""
    limit = MODEL.max_seq_length
    # A token has at least one character, so most texts need no count of their tokens.
    if limit is None or len(text) < limit - 1:
        return False
    with TURN:
        return len(MODEL.tokenizer(text, truncation=False)["input_ids"]) > limit


@dataclass
class SearchPayload:
    """What goes in."""

    query: str
    limit: int


@dataclass
class SearchResult:
    """What comes back, one for each match, the best first; `score` is the cosine, from -1 to 1."""

    record_id: str
    partition: str
    label: str
    score: float


@function
def search(context: QueryContext, event: SearchPayload) -> list[SearchResult]:
    """Find the records of the catalogue that mean the most similar to `event.query`."""
    if event.limit < 0:
        raise CallerError(f"limit is {event.limit}; give 0 or more.")
    scores = INDEX @ vectors_of([event.query])[0]
    best = np.argsort(-scores, kind="stable")[: event.limit]
    return [SearchResult(**CATALOGUE[place], score=float(scores[place])) for place in best]


if __name__ == "__main__":
    start()
