"""Networks with their preparation and labels: create, save, load, combine; free of fastai."""
