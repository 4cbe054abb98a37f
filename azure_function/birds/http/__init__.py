"""The FastAPI parts of the function: requests, responses, limits and logs."""
