"""Write a Triton model repository from a run's model file and its finder."""
