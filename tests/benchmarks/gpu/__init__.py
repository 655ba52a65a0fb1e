"""Measure a machine with a GPU: `python -m tests.benchmarks.gpu [--device cuda] [--products 12000]`.

Of products with a text and a photo of 1000 × 1000 pixels, these parts are measured. Each figure is printed as
soon as it is known, and all again as a table at the end.

loop      `clip_reindex` against a torch DataLoader and CLIPModel (`data_loader.py`), in turn;
equality  the indexed vectors against those of sentence-transformers in float32;
memory    a batch that does not fit into what is left of the GPU's memory;
workers   four queue workers that share the GPU.

The model is a ViT-B/32 of random weights. It and 16 pictures stay in the temporary folder for other runs; all
else is removed. With 12,000 products a run takes about five minutes on 16 cores.

A machine that is fresh needs torch for CUDA, and then:

    pip install -e ".[embedded]" "django>=5.2,<5.3" -r tests/requirements.txt

`--device cpu --products 200` tries all this without a GPU; then the floor of the loop does not hold.
"""
