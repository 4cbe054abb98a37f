"""What one would use instead of the function, each as good as it gets."""
