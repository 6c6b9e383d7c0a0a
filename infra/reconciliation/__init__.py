"""Reconciliation: what the engine holds for its accounts against what others say; breaks, trades behind them, age."""
