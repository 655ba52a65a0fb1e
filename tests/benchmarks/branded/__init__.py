"""A catalogue of brands: `python -m tests.benchmarks.branded` measures how well shoppers find what texts say.

A product is right because of its attributes (`attributes.py`), never because its text contains a word. The
same attributes make the texts (`texts.py`), the queries (`queries.py`) and the judgments (`judgments.py`).
"""
