"""The embedder service: a sound in, its vector out."""
