"""Pictures and texts of products, made by a program, and a small CLIP that is trained on them."""
