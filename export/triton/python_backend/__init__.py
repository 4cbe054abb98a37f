"""The models of Triton's Python backend: `export.triton.repository` copies their files.

They run without the rest of this package.
"""
