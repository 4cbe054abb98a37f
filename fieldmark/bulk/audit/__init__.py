"""Count species with valid intervals, from a model's results and photos that a person checked."""
