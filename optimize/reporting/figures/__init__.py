"""What is drawn of a study: the numbers behind its figures, how each ending looks, the figures, and how much parameters matter.

The numbers (`series.py`) and the looks (`looks.py`) know no plotting library: a page, a notebook and a dashboard draw the same.
"""
