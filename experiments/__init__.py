"""Entry points: `python -m experiments.<name>` does a whole job and leaves a table, plots and checkpoints."""
