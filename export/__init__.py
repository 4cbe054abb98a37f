"""From a Learner to a model file that has shown that it answers alike."""
