"""Serve the API on this computer or in a container: uvicorn with limits for each connection.

Azure has a server of its own and does not import this package.
"""
