"""Sample data: models of random weights, images, drawings and captions."""
