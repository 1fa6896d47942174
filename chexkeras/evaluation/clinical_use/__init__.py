"""What a model is worth in use: net benefit, the reading queue, another prevalence."""
