"""Other ways to serve the same model, each as its own documents recommend."""
