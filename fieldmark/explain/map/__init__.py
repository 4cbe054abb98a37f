"""Maps of photos by their embeddings: projections, a scatter, a mosaic, overlaps of species."""
