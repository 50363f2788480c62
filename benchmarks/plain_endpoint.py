"""What is written in an hour: FastAPI, a pydantic list of floats, the default answer, and Annoy.

Started by recommender.py, which says in the environment where the index lies.
"""

import json
import os
from pathlib import Path

from annoy import AnnoyIndex
from fastapi import FastAPI
from pydantic import BaseModel

folder, search_k = Path(os.environ["PLAIN_FOLDER"]), int(os.environ["PLAIN_SEARCH_K"])
items = json.loads((folder / "items.json").read_text())
index = AnnoyIndex(int(os.environ["PLAIN_DIM"]), "angular")
index.load(str(folder / "plain.ann"))
app = FastAPI()

# what answers are is not declared, for FastAPI would check them against that


class Query(BaseModel):
    vector: list[float]
    k: int = 10


class Queries(BaseModel):
    queries: list[Query]


def neighbours(query: Query) -> list[dict[str, object]]:
    found = index.get_nns_by_vector(
        query.vector, query.k, search_k=search_k, include_distances=True
    )
    return [
        {"id": items[row]["id"], "score": 1 - chord**2 / 2, "metadata": items[row]["metadata"]}
        for row, chord in zip(*found, strict=True)
    ]


@app.post("/recommend")
async def recommend(query: Query):  # noqa: ANN201
    return {"results": neighbours(query)}


@app.post("/recommend/batch")
async def recommend_batch(asked: Queries):  # noqa: ANN201
    return {"answers": [{"results": neighbours(query)} for query in asked.queries]}
