"""Networks with their preparation and labels: make, save, load, combine."""
