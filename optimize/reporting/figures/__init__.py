"""The figures of a study.

`data.py` has the numbers behind them and imports no plotting library; `importance.py` says how much each parameter matters.
`static.py` draws with matplotlib for the report and the notebook, `interactive.py` with plotly for the dashboard. `style.py` holds
their common style, and how each ending is drawn.
"""
